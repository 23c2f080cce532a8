// The completion scripts. Each hands the words so far to `berth __complete`, which answers `candidate<TAB>description` lines; a line `:files` or
// `:folders` asks the shell for its own. They are silent whatever happens.
export const scripts = {
  bash: `# bash completion for berth
_berth() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" line kind="" IFS=$'\\n'
  local -a words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=()
  # bash splits at = and :, which are parts of our words.
  for line in $(berth __complete -- "\${words[@]}" 2>/dev/null); do
    case "$line" in
      :files) kind=file ;;
      :folders) kind=directory ;;
      *) line="\${line%%$'\\t'*}"; [[ "$line" == "$cur"* ]] && COMPREPLY+=("$line") ;;
    esac
  done
  if [[ -n "$kind" ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -A "$kind" -- "$cur")
  fi
  return 0
}
complete -F _berth berth
`,
  zsh: `#compdef berth
# zsh completion for berth
_berth() {
  local -a candidates
  local line value description kind=""
  while IFS= read -r line; do
    case "$line" in
      :files) kind=files ;;
      :folders) kind=folders ;;
      *)
        value="\${line%%$'\\t'*}"
        description="\${line#*$'\\t'}"
        candidates+=("\${value//:/\\\\:}:$description")
        ;;
    esac
  done < <(berth __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#candidates} )) && _describe -t berth berth candidates
  [[ "$kind" == files ]] && _files
  [[ "$kind" == folders ]] && _files -/
  return 0
}
if [[ "$funcstack[1]" == _berth ]]; then _berth "$@"; else compdef _berth berth; fi
`,
  fish: `# fish completion for berth
function __berth_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in (berth __complete -- $words[2..-1] 2>/dev/null)
    switch $line
      case ':files'
        __fish_complete_path (commandline -ct)
      case ':folders'
        __fish_complete_directories (commandline -ct) ''
      case '*'
        echo $line
    end
  end
end
complete -c berth -f -a '(__berth_complete)'
`,
} as const;
