#!/usr/bin/env bats
# Forbidden phrases: the words that the glossary replaces, clauses as nouns, passive duties, inversions and moods. Each
# has a plain form: a named actor, a verb, an object. The list stands here alone. The check reads the manuals, the pages
# and their templates, the files of etc/ and systemd/, the quick start, the strings and comments of the program, and the names of
# tests.

bats_require_minimum_version 1.5.0

# What the glossary says otherwise: register, deregister, expire, conflict, rejected, orphan, resync, consumer.
FORBIDDEN='\bwithdr(aw|awn|aws|awal)\b|somebody else.s|another.s (key|container)|in other hands|nobody.s\b|left behind'
FORBIDDEN+='|\bstands? in etcd\b|\b(hangs?|hung) (up)?on (a|one|the|its) lease|\bin its lease\b|(does|do|will) not take (it|a key|the key|them)'
FORBIDDEN+='|\b(take[sn]?|took) (it|them|containers|keys|hosts) out\b|\b(lets?|let) [a-z, ]*back in\b|\btakes? it back\b'
FORBIDDEN+='|\breaders?\b|\bby (itself|themselves)\b|\bon its way\b|\b(is|are) held out\b'
# Clauses as nouns, and pronouns without a noun.
FORBIDDEN+='|whoever|what still runs|\bwhat (is|was|are) (wrong|drained|left|there|said|registered, and)|\b(those|he|she|someone) who\b|\bthat which\b'
FORBIDDEN+='|\bthe same (of|goes|holds|as there)\b|\bwhich of (them|the two) \b|\bof which there\b'
# Passive duties, inversions, moods.
FORBIDDEN+='|\b(is|are|was|were) to be\b|\bDid an? [a-z]+ (of|show|come|appear)\b|\bShould (it|that|one)\b|\bNot so\b|\bso be it\b'
FORBIDDEN+='|is no news|of no concern|without a word|is at it\b|beyond measure|at once will do|will do as well|\bwhere there is none\b'
FORBIDDEN+='|where it is not the default|\bmends?\b|\bmended\b|need not be there|\bto look at and\b|\bis none\b|\banew\b|\bmeanwhile\b'
FORBIDDEN+='|\b(say|says|said|saying) so\b|\ball the same\b|\b(which [a-z.]+|clock) tells\b|\band so (do|does|did|has|have|is|are|was|were)\b|(has|have) (it|them) no more\b'
FORBIDDEN+='|\bkeys? (goes|go|went|leaves|dies|die)\b|\b(an|the) audit\b|\baudits\b|\bends by\b|\bby then\b|\b(is|are) news\b|\bfor its own\b'
FORBIDDEN+='|\bas it comes\b|\b(is|are) at its\b|\bcomes? out (right|wrong)\b|\b(hears?|heard) (Docker|etcd|nothing)\b|\bbut for\b|\bwhich see\b|\bnot so much\b'

# pages TREE: the files of TREE that users read. NEWS lists the old words.
pages() {
    find "$1"/*.md "$1"/docs/*.md "$1"/man/*.[158] "$1"/etc "$1"/systemd "$1"/quickstart "$1"/compose.yaml "$1"/Dockerfile -type f 2>/dev/null |
        grep -v '/NEWS\.md$' || true
}

# test_names TREE: "FILE: NAME" for each test of bats, and for each test of cmocka with spaces for underscores.
test_names() {
    grep -roE --include='*.bats' '^@test .*"' "$1/tests" | sed 's/:@test "\(.*\)"$/: \1/'
    grep -roE --include='*.c' '^static void [a-z0-9_]+\(void \*\*' "$1/tests" |
        sed 's/^\([^:]*\):static void \([a-z0-9_]*\).*/\1 \2/' | while read -r file name; do echo "$file: ${name//_/ }"; done
}

# comments TREE: prints each comment of TREE's sources as one line "file:line: text".
comments() {
    find "$1/registrator" -name '*.[ch]' -exec perl -0777 -ne '
        while (m{"(?:\\.|[^"\\])*"|\x27(?:\\.|[^\x27\\])*\x27|(/\*.*?\*/|//[^\n]*)}gs) {
            my $text = $1 // next;
            my $line = 1 + (substr($_, 0, $-[1]) =~ tr/\n//);
            $text =~ s/\s*\\?\n[ *]*/ /g;
            print "$ARGV:$line: $text\n";
        }' {} +
}

# forbidden TREE: prints each line of TREE's pages, each string and comment of its sources, and each name of a test that has a
# forbidden phrase.
forbidden() {
    local files
    mapfile -t files < <(pages "$1")
    grep -nHEi "$FORBIDDEN" /dev/null "${files[@]}"
    # In a template, {{...}} is code.
    find "$1/tests/bench" -name '*.tmpl' 2>/dev/null | while read -r file; do
        sed 's/{{[^}]*}}//g' "$file" | grep -nEi --label="$file" -H "$FORBIDDEN"
    done
    test_names "$1" | grep -Ei "^[^:]*: .*($FORBIDDEN)"
    grep -rnHEi --include='*.c' --include='*.h' "^[^/*]*\"[^\"]*($FORBIDDEN)[^\"]*\"" "$1/registrator"
    comments "$1" | grep -Ei "$FORBIDDEN"
    return 0
}

@test "language: no page, manual, template of a page, string or comment of the program, or name of a test has a forbidden phrase" {
    run forbidden "$BATS_TEST_DIRNAME/../.."
    echo "$output"
    [[ $status -eq 0 && -z $output ]]
}
@test "language: the check finds a phrase in each kind of text" {
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree"/{docs,man,etc/prometheus,registrator/base,tests/{bench,unit}}
    printf '%s\n' 'Whoever starts a container chooses the name.' 'The log says so.' >"$tree/docs/page.md"
    printf '%s\n' 'The key is to be deleted.' 'withdraws the containers' 'wakes every reader' >"$tree/man/registrator.8"
    echo '# The key goes by itself.' >"$tree/etc/registrator.conf"
    echo 'summary: keys in other hands' >"$tree/etc/prometheus/registrator.rules.yml"
    printf '%s\n' '/* whoever reads this */' 'puts("/* clean */"); /* the key is to' ' * be deleted */' 'puts("on its way");' 'log_info("%s is %s", key, "somebody else'"'"'s");' \
        'log_info("no answer, registered all the same");' \
        >"$tree/registrator/base/text.c"
    printf '%s\n' '    ROW(NONE, "none", "nobody'"'"'s key")' >"$tree/registrator/base/text.h"
    printf '%s\n' '{{num "reader.keys"}} keys' '{{num "a"}} keys wake every reader' >"$tree/tests/bench/page.md.tmpl"
    printf '@%s\n' 'test "the key is gone" {' 'test "the key goes" {' >"$tree/tests/a.bats"
    printf '%s\n' 'static void the_key_is_gone(void **state)' 'static void the_key_goes(void **state)' >"$tree/tests/unit/test_a.c"
    run forbidden "$tree"
    echo "$output"
    [[ $status -eq 0 && ${#lines[@]} -eq 16 && $output != *"is gone"* && $output != *reader.keys* ]]
    [[ $output == *"text.c:1: /* whoever reads this */"* && $output == *"text.c:2: /* the key is to be deleted */"* ]]
}
