// What writes the logs that are measured: lines with a number, the moment they were written and how long a write has taken at most, in the Perl that every
// system has.
import type { Files } from "../../e2e/harness.ts";

export interface Writer {
  readonly name: string;
  readonly replicas: number;
  /** Lines a second of each instance; undefined: as many as are taken. */
  readonly rate: number | undefined;
  /** Of each instance. */
  readonly lines: number;
  /** Of each line, about. */
  readonly bytes: number;
}

/** ms since 1970 at which the writers begin, so that they do so together and with somebody listening. */
export function writersOf(writers: readonly Writer[], begin: number): Files {
  const services = writers.map(
    ({ name, replicas, rate, lines, bytes }) => `  ${name}:
    build: .
    deploy: { replicas: ${String(replicas)} }
    environment: { BEGIN: "${String(begin / 1000)}", RATE: "${String(rate ?? 0)}", LINES: "${String(lines)}", BYTES: "${String(bytes)}" }
    x-berth: { kind: worker, process: worker }
`,
  );
  return {
    "compose.yaml": `services:\n${services.join("")}`,
    Procfile: "worker: perl write.pl\n",
    "write.pl": `use strict; use Time::HiRes qw(time sleep);
my ($begin, $rate, $lines, $bytes) = @ENV{qw(BEGIN RATE LINES BYTES)};
$SIG{TERM} = sub { exit 0 };
my ($pad, $longest, $n) = ("x" x $bytes, 0, 0);
sleep($begin - time) if $begin > time;
my $start = time;
while ($n < $lines) {
  my $due = $rate == 0 ? $n + 100 : (time - $start) * $rate;
  for (; $n < $due && $n < $lines; $n++) {
    my $before = time;
    syswrite(STDOUT, sprintf("%d %.0f %.0f %s\\n", $n, $before * 1000, $longest * 1000, $pad));
    my $took = time - $before;
    $longest = $took if $took > $longest;
  }
  sleep 0.005 if $rate > 0;
}
sleep 60 while 1;
`,
  };
}
