// The guestbook's page. Entries come from the API, whose address Berth puts into API_URL (in Docker Compose its name is enough).
import { createServer } from "node:http";
import { page } from "./page.js";

const port = Number(process.env.PORT ?? 8000);
const api = process.env.API_URL ?? "http://api:8000";
const who = {
  title: process.env.TITLE ?? "Guestbook",
  release: process.env.BERTH_RELEASE ?? "0",
  instance: process.env.BERTH_INSTANCE ?? "here",
};

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error.message}`);
    if (!response.headersSent) response.writeHead(502, { "content-type": "text/plain; charset=utf-8" });
    response.end("The guestbook's API did not answer.\n");
  });
});

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/healthz") return send(response, 200, "text/plain", "ok\n");
  if (pathname === "/version") return send(response, 200, "application/json", JSON.stringify({ release: who.release, instance: who.instance }));
  if (pathname !== "/") return send(response, 404, "text/plain", "There is nothing here.\n");
  if (request.method === "POST") return addEntry(request, response);
  return send(response, 200, "text/html; charset=utf-8", page(who, await readBook()));
}

/** A page without entries is better than none: it says that the API does not answer. */
async function readBook() {
  try {
    const answer = await fetch(`${api}/entries`, { signal: AbortSignal.timeout(5_000) });
    if (!answer.ok) throw new Error(`the API answered ${answer.status}`);
    return await answer.json();
  } catch (error) {
    console.error(`no entries: ${error.message}`);
    return { entries: [], summary: "The entries cannot be shown: the API does not answer." };
  }
}

async function addEntry(request, response) {
  let body = "";
  for await (const chunk of request) {
    body += chunk;
    if (body.length > 10_000) return send(response, 413, "text/plain", "That is too long for a guestbook.\n");
  }
  const form = new URLSearchParams(body);
  const entry = { name: form.get("name") ?? "", text: form.get("text") ?? "" };
  const stored = await fetch(`${api}/entries`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(entry), signal: AbortSignal.timeout(5_000) });
  if (!stored.ok) return send(response, stored.status, "text/plain; charset=utf-8", await stored.text());
  console.log(`new entry by ${entry.name}`);
  response.writeHead(303, { location: "/" }).end();
}

function send(response, status, type, body) {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
}

server.listen(port, () => console.log(`web listens on ${port}, release ${who.release}`));

process.on("SIGTERM", () => {
  console.log("told to end: finishing what is in flight");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
