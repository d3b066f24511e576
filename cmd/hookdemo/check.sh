# Runs every image in the machine, where the program in it compares the files that
# it sees with those that were pushed, and saves it: the layers have to be what
# the image's configuration says. $images and $arguments are set before.
status=0
room=/host_root/var/saved

# save IMAGE: compares the layers that docker save writes with the diffIDs.
save() {
	rm -rf "$room"
	mkdir -p "$room"
	docker save "$1" | tar -x -C "$room" || return 1
	got=''
	# shellcheck disable=SC2013 # the names are words of one line
	for layer in $(sed 's/.*"Layers":\[\([^]]*\)\].*/\1/; s/[",]/ /g' "$room/manifest.json"); do
		got="$got sha256:$(sha256sum <"$room/$layer" | cut -d ' ' -f 1)"
	done
	want=$(docker image inspect --format '{{range .RootFS.Layers}} {{.}}{{end}}' "$1")
	if [ "$got" = "$want" ]; then
		echo "saved ok: $1"
	else
		echo "saved bad: $1 has$want and gives$got"
		return 1
	fi
}

# shellcheck disable=SC2154 # set before
for image in $images; do
	# shellcheck disable=SC2086,SC2154 # a word for each argument
	docker run --rm --network none --entrypoint /corpus/check "$image" $arguments || status=1
	save "$image" || status=1
done
rm -rf "$room"
exit $status
