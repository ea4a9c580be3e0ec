// A tus 1.0.0 server of strangers: @uploadx/core on its disk storage, with checksums.
//     node uploadx-server.mjs IP PORT DIR
// Port 0 takes a free one. One line of JSON tells the creation URL once it listens.
import { mkdirSync } from 'node:fs'
import http from 'node:http'
import uploadx from '@uploadx/core'

const [ip, port, directory] = process.argv.slice(2)
mkdirSync(directory, { recursive: true })
const handle = uploadx.tus({ uploadDir: directory, basePath: '/files' })
const listener = http.createServer((request, response) => handle(request, response))
listener.listen(Number(port), ip, () => {
  console.log(JSON.stringify({ endpoint: `http://${ip}:${listener.address().port}/files` }))
})
