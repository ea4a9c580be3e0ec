// An upload by tus-js-client.
//     node tus-js-upload.mjs URL FILE KEY [OPTIONS [URL_STORAGE]]
// OPTIONS is a JSON object of tus-js-client options. With the file URL_STORAGE an earlier, unfinished
// upload of the same file goes on where it was. SIGTERM aborts as an application would: by abort().
// One line of JSON tells the upload's URL in the end.
import { createReadStream, existsSync, writeFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { FileUrlStorage, Upload } from 'tus-js-client'

const [endpoint, file, key, options = '{}', urlStorage] = process.argv.slice(2)
const given = JSON.parse(options)
let source = createReadStream(file)
// A source that is visibly a file never tells tus-js-client 4.3.1 its end when the length is deferred.
if (given.uploadLengthDeferred) source = source.pipe(new PassThrough())
const resumption = {}
if (urlStorage) {
  if (!existsSync(urlStorage)) writeFileSync(urlStorage, '{}') // it locks the file before it writes one
  resumption.urlStorage = new FileUrlStorage(urlStorage)
  resumption.storeFingerprintForResuming = true
  resumption.removeFingerprintOnSuccess = true
}

const upload = new Upload(source, {
  endpoint,
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: 'recording.bin' },
  retryDelays: [0, 200, 500, 1000, 2000, 2000, 2000, 2000],
  ...resumption,
  ...given,
  onError(error) {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess() {
    console.log(JSON.stringify({ upload: upload.url }))
    process.exit(0)
  },
})

process.on('SIGTERM', async () => {
  await upload.abort()
  process.exit(143)
})

if (urlStorage) {
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
}
upload.start()
