# Completion of hookbuild for fish.
function __hookbuild_complete
	set -l words (commandline -opc)
	set -l word (commandline -ct)
	if not command -q -- $words[1]
		set words[1] hookbuild # an alias
	end
	for line in (command $words[1] __complete $words[2..] "$word" 2>/dev/null)
		set -l parts (string split -m 1 \t -- $line)
		set -l path (string sub -s (math 1 + (string length -- "$parts[2]")) -- "$word")
		switch $parts[1]
			case :file
				for found in (__fish_complete_path $path)
					echo -- $parts[2]$found
				end
			case :dir
				for found in (__fish_complete_directories $path '')
					echo -- $parts[2]$found
				end
			case '*'
				echo -- $line
		end
	end
end
complete -c hookbuild -f -a '(__hookbuild_complete)'
