// The smallest program that can be supervised like a web component, in the Perl that every system has.
import type { Files } from "../../e2e/harness.ts";

/** Answers every connection, one after another. */
export const listener: Files = {
  Procfile: "web: perl server.pl\n",
  "server.pl": `use strict; use Socket;
socket(my $door, PF_INET, SOCK_STREAM, 0) or die; setsockopt($door, SOL_SOCKET, SO_REUSEADDR, 1);
bind($door, sockaddr_in($ENV{PORT}, INADDR_LOOPBACK)) or die; listen($door, 64) or die;
$SIG{PIPE} = "IGNORE"; $SIG{TERM} = sub { exit 0 }; $| = 1; print "listening\\n";
while (1) {
  accept(my $peer, $door) or next;
  sysread($peer, my $ask, 4096) and syswrite($peer, "HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok");
  close $peer;
}
`,
};
