#!/bin/bash
# Move the read positions back by five minutes, then start Alloy. Alloy stores its position before Loki has received the lines,
# which may be 10 MiB. After a crash, these lines are lost unless they are read again. Lines that are sent twice are shown once.
back=300
shopt -s nullglob
storage=${STORAGE:-/var/lib/alloy/data}

# Print a position in a file of a container runtime, in bytes, five minutes of lines before POSITION.
move_back() { # FILE POSITION SAVED
  local first last since
  first=$(head -n 1 "$1" | cut -d ' ' -f 1)
  # If the file was rotated, the position may be that of the old one, and Alloy would skip the beginning of the new one. A saved
  # position is up to 20 seconds old.
  if [ "$(date -d "$first" +%s)" -gt $(($3 - 60)) ]; then
    echo 0
    return
  fi
  # The runtime writes local times, so compare them as texts.
  last=$(head -c "$2" "$1" | tail -n 1)
  since=$(date -u -d "${last:0:19} UTC $back seconds ago" +%FT%T)
  head -c "$2" "$1" | LC_ALL=C awk -v since="$since" '$1 >= since { exit } { bytes += length($0) + 1 } END { print bytes + 0 }'
}

for file in "$storage"/loki.source.{docker,file}.*/positions.yml; do
  saved=$(stat -c %Y "$file")
  path=
  while IFS= read -r line; do
    if [[ $line =~ ^\ *\?\ path:\ (.*)$ ]]; then
      path=${BASH_REMATCH[1]}
    elif [[ $line =~ ^(\ *:\ \")([0-9]+)\"$ ]]; then
      if [[ $path == /* ]]; then
        position=0
        [ -s "$path" ] && position=$(move_back "$path" "${BASH_REMATCH[2]}" "$saved")
      else
        position=$((BASH_REMATCH[2] - back)) # in seconds, of the Docker API
      fi
      line="${BASH_REMATCH[1]}$position\""
    fi
    printf '%s\n' "$line"
  done <"$file" >"$file.back" && mv "$file.back" "$file"
done
exec "${ALLOY:-/bin/alloy}" "$@"
