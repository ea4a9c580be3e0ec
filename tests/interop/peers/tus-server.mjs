// A tus 1.0.0 server of strangers: @tus/server with its file store.
//     node tus-server.mjs IP PORT DIR
// Port 0 takes a free one. One line of JSON tells the creation URL once it listens.
import { mkdirSync } from 'node:fs'
import http from 'node:http'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [ip, port, directory] = process.argv.slice(2)
mkdirSync(directory, { recursive: true })
const tus = new Server({ path: '/files', relativeLocation: true, datastore: new FileStore({ directory }) })
const listener = http.createServer((request, response) => tus.handle(request, response))
listener.listen(Number(port), ip, () => {
  console.log(JSON.stringify({ endpoint: `http://${ip}:${listener.address().port}/files` }))
})
