# Completion of hookbuild for bash, 3.2 and later.
_hookbuild() {
	local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:COMP_CWORD}") line
	COMPREPLY=()
	if [[ $cur == -* ]]; then
		words+=("$cur")
	fi
	while IFS= read -r line; do
		line=${line%%:*}
		if [[ $line == "$cur"* ]]; then
			COMPREPLY+=("$line")
		fi
	done < <("${words[@]}" --generate-bash-completion 2>/dev/null)
}
complete -o bashdefault -o default -F _hookbuild hookbuild
