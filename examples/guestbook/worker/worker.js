// Counts the guestbook's entries now and then, and leaves a summary for the page. Has no port: nobody talks to it.
import { setTimeout as pause } from "node:timers/promises";

const api = process.env.API_URL ?? "http://api:8000";
const every = Number(process.env.EVERY_SECONDS ?? 10) * 1000;
const ending = new AbortController();
process.on("SIGTERM", () => ending.abort());

async function count() {
  const book = await (await fetch(`${api}/entries`, { signal: AbortSignal.timeout(5_000) })).json();
  const people = new Set(book.entries.map((entry) => entry.name)).size;
  const text = `${book.total} ${book.total === 1 ? "entry" : "entries"} by ${people} ${people === 1 ? "person" : "people"}.`;
  const answer = await fetch(`${api}/summary`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text }), signal: AbortSignal.timeout(5_000) });
  if (!answer.ok) throw new Error(`the API answered ${answer.status}`);
  console.log(`counted: ${text}`);
}

console.log(`worker counts every ${every / 1000} s`);
while (!ending.signal.aborted) {
  try {
    await count();
  } catch (error) {
    console.error(`could not count: ${error.message}`);
  }
  await pause(every, undefined, { signal: ending.signal }).catch(() => undefined);
}
console.log("told to end: done");
