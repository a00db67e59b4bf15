# Completion for bash: the words come from `ecert --complete`; where there are
# none, as behind --output, bash offers files.

_ecert() {
    local cur=${COMP_WORDS[COMP_CWORD]} quote= word
    local -a before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")

    case $cur in
        [\'\"]*) quote=${cur:0:1} cur=${cur:1} ;;
        =) cur= before+=(=) ;; # bash makes three words of --store=DIR
    esac
    COMPREPLY=()
    while IFS= read -r word
    do
        # behind the options: only for who has typed a hyphen
        [[ $word == -* && $cur != -* ]] && continue
        [[ $word == "${cur//\\/}"* ]] || continue
        [[ $quote ]] || printf -v word %q "$word" # "*.example.hk"
        COMPREPLY+=("$word")
    done < <("${COMP_WORDS[0]}" --complete "${before[@]}" 2> /dev/null)
}

complete -o bashdefault -o default -F _ecert ecert
