// Measures the router beside its peers: `npm run bench:router -- [--only peers,features,http2,idle,stream,scale] [--rounds N] [--seconds N] [--connections N] [--json]`.
// Needs wrk, curl, taskset and nginx, and h2load for HTTP/2; Traefik when bench/peers/traefik.ts compiled it. Leaves nothing behind, and ends with 1 when a bar is missed.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { http2, http2Table, perCpuSecond } from "./http2.ts";
import { idle, idleTable } from "./idle.ts";
import { has } from "./proxies.ts";
import { scale, scaleTable } from "./scale.ts";
import { stream, streamTable } from "./stream.ts";
import { loadLine, tableOf } from "./text.ts";
import { features, featuresTable, peers, peersTable, timesAsMany } from "./throughput.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: "peers,features,http2,scale,idle,stream" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    connections: { type: "string", default: "64" },
    idle: { type: "string", default: "10000" },
    mebibytes: { type: "string", default: "1024" },
    json: { type: "boolean", default: false },
  },
});

const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
const missing = ["wrk", "curl", "taskset", "nginx"].filter((command) => !has(command));
if (missing.length > 0) {
  note(`missing: ${missing.join(", ")}`);
  process.exit(1);
}

const cores = availableParallelism();
const options = { rounds: Number(flags.rounds), seconds: Number(flags.seconds), connections: Number(flags.connections), note };
/** What the router promises of itself; each is judged only when it was measured. */
const bars: { readonly bar: string; readonly found: string; readonly pass: boolean }[] = [];
const tables: string[][][] = [];
const only = new Set(flags.only.split(","));
note(loadLine(cores));

if (only.has("peers")) {
  const found = await peers(options);
  tables.push(peersTable(found));
  const [own, , traefik] = ["Berth", "Traefik, ", "Traefik as"].map((name) => found.find((one) => one.name.startsWith(name)));
  if (own !== undefined && traefik !== undefined) {
    const times = timesAsMany(own, traefik);
    bars.push({
      bar: "with everything on, as many requests per CPU second as Traefik with nothing on",
      found: `${times.toFixed(2)} times`,
      pass: times >= 1,
    });
  } else note("Traefik is not there (node bench/peers/traefik.ts compiles it): no bar to compare with");
}
if (only.has("features")) tables.push(featuresTable(await features(options)));
if (only.has("http2")) {
  if (!has("h2load")) note("h2load is not there (Debian's nghttp2-client): nothing is measured of HTTP/2");
  else {
    const found = await http2(options);
    tables.push(http2Table(found));
    const times = perCpuSecond(found, "Berth, HTTP/2", "Berth, HTTP/1.1");
    bars.push({
      bar: "over HTTP/2, half of the requests per CPU second that HTTP/1.1 carries, both in TLS",
      found: `${times.toFixed(2)} times`,
      pass: times >= 0.5,
    });
  }
}
if (only.has("scale")) tables.push(scaleTable(await scale(options)));
if (only.has("idle")) {
  const found = await idle({ connections: Number(flags.idle), note });
  tables.push(idleTable(found));
  const cost = found.with.resident - found.before.resident;
  bars.push(
    // What both hold is in memory once: the sum of their RSS, in the table, counts it twice.
    {
      bar: `routers with ${String(found.connections)} idle connections, what they share counted once: 150 MB resident`,
      found: `${String(Math.round(found.with.together / 1e6))} MB`,
      pass: found.with.together <= 150e6,
    },
    {
      bar: `${String(found.connections)} idle connections alone: 150 MB more than without`,
      found: `${String(Math.round(cost / 1e6))} MB`,
      pass: cost <= 150e6,
    },
  );
}
if (only.has("stream")) {
  const found = await stream({ mebibytes: Number(flags.mebibytes), note });
  tables.push(streamTable(found));
  for (const one of found)
    bars.push({
      bar: `${one.name}: 32 MB more at most after a fifth of it`,
      found: `${String(Math.round(one.grewOn / 1e6))} MB`,
      pass: one.grewOn <= 32e6,
    });
}

if (flags.json) process.stdout.write(`${JSON.stringify({ cores, options: { ...options, note: undefined }, tables, bars }, null, 2)}\n`);
else {
  for (const table of tables) process.stdout.write(`\n${tableOf(table)}\n`);
  process.stdout.write(
    `\n${tableOf([["bar", "found", "pass"], ...bars.map(({ bar, found, pass }) => [bar, found, pass ? "yes" : "NO"])])}\n`,
  );
}
process.exitCode = bars.every(({ pass }) => pass) ? 0 : 1;
