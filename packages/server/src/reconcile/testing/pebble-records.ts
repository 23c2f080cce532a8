// TXT records of tests: a program that sets and takes them away, as an operator would have one, and the file that it keeps them in.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** What a program of the operator does for dns-01, as a script for Node.js that keeps the records in a file. With `<file>.fails` beside it, it fails (`<file>.keeps`: to take one away); with `<file>.hangs`, it never ends. */
export const hookScript = (records: string): string => `#!${process.execPath}
const fs = require("node:fs");
const file = ${JSON.stringify(records)};
const [verb, name, value] = process.argv.slice(2);
if (fs.existsSync(file + ".fails") || (verb === "remove" && fs.existsSync(file + ".keeps"))) {
  console.error("the zone is read-only");
  process.exit(3);
}
if (fs.existsSync(file + ".hangs")) for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e6);
const all = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {};
const rest = (all[name] ?? []).filter((one) => one !== value);
all[name] = verb === "add" ? [...rest, value] : rest;
fs.writeFileSync(file + ".new", JSON.stringify(all));
fs.renameSync(file + ".new", file);
fs.appendFileSync(file + ".calls", verb + " " + name + "\\n");
console.log(verb + " done");
`;

/** The records as the program left them. */
export async function recordsIn(file: string): Promise<Record<string, string[]>> {
  return existsSync(file) ? (JSON.parse(await readFile(file, "utf8")) as Record<string, string[]>) : {};
}
