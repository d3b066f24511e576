# Completion of hookbuild for bash, 3.2 and later.
_hookbuild() {
	local IFS=$' \t\n' word words=() glue='' last=0 cut i
	# Bash splits words at : and = too, which references and options contain.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i > 1)) && [[ $word && ($glue || -z ${word//[:=]/}) ]]; then
			words[last]+=$word
		else
			last=${#words[@]}
			words[last]=$word
		fi
		glue=
		if ((i > 0)) && [[ $word && -z ${word//[:=]/} ]]; then
			glue=yes
		fi
	done
	# Bash replaces only what follows the last separator.
	cut=${words[last]}
	if [[ ! $glue ]]; then
		cut=${cut%"$word"}
	fi
	if ! type -P "${words[0]}" >/dev/null; then
		words[0]=hookbuild # an alias, or a path with ~
	fi
	local line rest paths='' before=''
	COMPREPLY=()
	while IFS=$'\t' read -r line rest; do
		case $line in
		:file | :dir) paths=$line before=$rest ;;
		*) COMPREPLY+=("${line#"$cut"}") ;;
		esac
	done < <(command "${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
	if [[ $paths ]]; then
		if [[ $paths == :file && $before == "$cut" && ${#COMPREPLY[@]} == 0 ]]; then
			return # bash completes files by itself
		fi
		compopt -o filenames 2>/dev/null
		while IFS= read -r line; do
			line=$before$line
			COMPREPLY+=("${line#"$cut"}")
		done < <(compgen "-${paths:1:1}" -- "${words[last]#"$before"}")
	else
		compopt +o default +o bashdefault 2>/dev/null
	fi
	if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=] ]]; then
		compopt -o nospace 2>/dev/null
	fi
}
complete -o bashdefault -o default -F _hookbuild hookbuild
