// A tus 1.0.0 server of strangers: @tus/server with its file store.
//     node tus-server.mjs IP PORT DIR [CERTIFICATE]
// Port 0 takes a free one. CERTIFICATE is a PEM file with a key and a certificate: then it speaks TLS. One line of JSON tells the creation URL once it listens.
import { mkdirSync, readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [ip, port, directory, certificate] = process.argv.slice(2)
mkdirSync(directory, { recursive: true })
const tus = new Server({ path: '/files', relativeLocation: true, datastore: new FileStore({ directory }) })
const answer = (request, response) => tus.handle(request, response)
const pem = certificate && readFileSync(certificate)
const listener = pem ? https.createServer({ key: pem, cert: pem }, answer) : http.createServer(answer)
listener.listen(Number(port), ip, () => {
  console.log(JSON.stringify({ endpoint: `${pem ? 'https' : 'http'}://${ip}:${listener.address().port}/files` }))
})
