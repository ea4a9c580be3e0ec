#!/bin/sh
# An upload by curl: made with one POST, sent in one PATCH.
#     sh one_patch.sh URL FILE KEY
set -eu
url=$1 file=$2 key=$3
tus='Tus-Resumable: 1.0.0'
made=$(curl --silent --show-error --fail -o /dev/null -X POST -w '%header{location}' -H "$tus" \
  -H "Authorization: Bearer $key" -H "Upload-Length: $(wc -c < "$file")" "$url")
case $made in
  http*) ;;
  /*) made=$(echo "$url" | cut -d / -f 1-3)$made ;;
  *) made=${url%/*}/$made ;;
esac
exec curl --silent --show-error --fail -X PATCH -T "$file" -H 'Expect:' -H "$tus" -H "Authorization: Bearer $key" \
  -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream' "$made"
