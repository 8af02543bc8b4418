# Runs a Tcl script with every command that Tcl does not know, and `puts`, answered by another
# process: words go out on stdout in base64, one command a line; the answer comes in on stdin.

rename puts tcl_puts

proc forward {args} {
    set words [lmap word $args {string cat = [binary encode base64 [encoding convertto utf-8 $word]]}]
    tcl_puts stdout [string map {"\n" ""} [join $words " "]]
    flush stdout
    if {[gets stdin line] < 0} { exit 3 }
    set text [encoding convertfrom utf-8 [binary decode base64 [string range $line 1 end]]]
    if {[string index $line 0] eq "!"} { return -code error $text }
    return $text
}

proc unknown {args} { forward {*}$args }
proc puts {args} { forward puts {*}$args }

set script [lindex $argv 0]
set argv [lrange $argv 1 end]
if {[catch {source $script} message]} {
    catch {forward failed $message}
    exit 1
}
