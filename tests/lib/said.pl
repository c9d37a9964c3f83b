# usage: said.pl PAGE SOURCE...
#
# Prints what PAGE quotes and the program cannot say, then how many quotes there are: the lines of its blocks "log",
# and what stands in backquotes in the first column of tables that begin with "it says" or "in the line". A quote's
# parts between "…" are to be found in the sources' string literals, as they stand or put together by their formats.
use strict;
use utf8;
use open qw(:std :utf8);
my ($page, @sources) = @ARGV;
my $source = join '', map { local $/; open my $f, '<', $_ or die "$_: $!"; <$f> } @sources;
$source =~ s/"\s*\n\s*"//g;
my @pieces = grep { length > 2 || $_ eq "; " } map { split /%[-#0 .*0-9]*(?:hh|h|ll|l|z|j)?[a-zA-Z]/ }
    map { s/\\(["\\])/$1/gr } $source =~ /"((?:[^"\\\n]|\\.)*)"/g;
sub rest_is_said {
    my ($text) = @_;
    return 1 if grep { index($_, $text) == 0 } @pieces;
    for (@pieces) { return 1 if index($text, $_) == 0 && rest_is_said(substr $text, length) }
    return 0;
}
sub is_said {
    my ($text) = @_;
    return 1 if grep { index($_, $text) >= 0 } @pieces;
    for my $piece (@pieces) {
        # Short ones only as a whole: of two letters anything could be made.
        for my $length (length $piece < 4 ? length $piece : 2 .. length $piece) {
            return 1 if index($text, substr $piece, -$length) == 0 && rest_is_said(substr $text, $length);
        }
    }
    return 0;
}
open my $f, '<', $page or die "$page: $!";
my ($inside, $table, $n) = ('', 0, 0);
while (<$f>) {
    chomp;
    if (/^```(.*)/) { $inside = $1; next }
    $table = /^\|/ && ($table || /^\| (it says|in the line) \|/);
    my $quote = $inside eq 'log' ? $_ : $table && /^\| `([^`]*)` \|/ ? $1 : next;
    for my $text (grep { /\w/ } map { s/^\s+|\s+$//gr } split /…/, $quote) {
        $n++;
        print "nobody says: $text\n" unless is_said($text);
    }
}
print "$n\n";
