// berth-static: serves the files of one folder over HTTP, for static sites. One file without imports but Node's own, since it is copied to where every stack's user can run it.
// It never leaves its folder, never follows a link out of it, and never serves a name that begins with a dot (but /.well-known/).
import { createReadStream, realpathSync } from "node:fs";
import { open, realpath, type FileHandle } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".htm": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".webmanifest": "application/manifest+json",
  ".xml": "application/xml",
  ".txt": "text/plain; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".csv": "text/csv; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".avif": "image/avif",
  ".ico": "image/x-icon",
  ".woff": "font/woff",
  ".woff2": "font/woff2",
  ".ttf": "font/ttf",
  ".otf": "font/otf",
  ".pdf": "application/pdf",
  ".wasm": "application/wasm",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
  ".mp3": "audio/mpeg",
  ".ogg": "audio/ogg",
  ".zip": "application/zip",
  ".gz": "application/gzip",
};

interface Site {
  readonly root: string;
  /** Paths without a file are answered with /index.html. */ readonly spa: boolean;
}
interface Found {
  readonly handle: FileHandle;
  readonly path: string;
  readonly size: number;
  readonly modified: Date;
}

/** The decoded path's segments; undefined for what must not be looked up. */
function segmentsOf(url: string): string[] | undefined {
  let path: string;
  try {
    path = decodeURIComponent(url.split(/[?#]/, 1)[0] ?? "/");
  } catch {
    // Not valid percent-encoding.
    return undefined;
  }
  if (!path.startsWith("/") || path.includes("\0") || path.includes("\\")) return undefined;
  const segments = path.split("/").filter((segment) => segment !== "");
  return segments.some((segment, index) => segment.startsWith(".") && !(index === 0 && segment === ".well-known")) ? undefined : segments;
}

/** Opens a regular file inside the root; "folder" for a folder; undefined otherwise. */
async function openInside(site: Site, path: string): Promise<Found | "folder" | undefined> {
  let handle: FileHandle | undefined;
  try {
    const real = await realpath(path);
    if (real !== site.root && !real.startsWith(site.root + sep)) return undefined;
    handle = await open(real);
    const stat = await handle.stat();
    if (stat.isFile()) {
      const found = { handle, path: real, size: stat.size, modified: stat.mtime };
      handle = undefined;
      return found;
    }
    return stat.isDirectory() ? "folder" : undefined;
  } catch {
    // Not there or not readable: both are "not found" to a visitor.
    return undefined;
  } finally {
    await handle?.close();
  }
}

function plain(response: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(text), ...headers });
  response.end(response.req.method === "HEAD" ? undefined : text);
}

async function answer(site: Site, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") return plain(response, 405, "Method not allowed\n", { allow: "GET, HEAD" });
  const url = request.url ?? "/";
  const segments = segmentsOf(url);
  if (segments === undefined) return plain(response, 404, "Not found\n");
  const path = join(site.root, ...segments);
  let found = await openInside(site, path);
  if (found === "folder") {
    const [bare = "/", query] = url.split("?", 2);
    // One folder, one address: relative links of its index would break without the slash. Built anew, so that `//host` never becomes a redirect elsewhere.
    if (!bare.endsWith("/"))
      return plain(response, 308, "", {
        location: `/${segments.map(encodeURIComponent).join("/")}/${query === undefined ? "" : `?${query}`}`,
      });
    found = await openInside(site, join(path, "index.html"));
  }
  if (found === undefined && !url.endsWith("/")) found = await openInside(site, `${path}.html`);
  if (found !== undefined && found !== "folder") return send(found, request, response, 200);
  const isPage = extname(path) === "" || extname(path) === ".html";
  const fallback = site.spa && isPage ? await openInside(site, join(site.root, "index.html")) : undefined;
  if (fallback !== undefined && fallback !== "folder") return send(fallback, request, response, 200);
  const page = await openInside(site, join(site.root, "404.html"));
  if (page !== undefined && page !== "folder") return send(page, request, response, 404);
  plain(response, 404, "Not found\n");
}

/** `bytes=a-b`, one range only (RFC 9110, 14.1.2); "unsatisfiable" when it begins behind the end. */
function rangeOf(header: string | undefined, size: number): { readonly start: number; readonly end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  const suffix = match[1] === "";
  const start = suffix ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = suffix || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  return start > end || start >= size ? "unsatisfiable" : { start, end };
}

async function send(found: Found, request: IncomingMessage, response: ServerResponse, status: 200 | 404): Promise<void> {
  try {
    const etag = `"${found.size.toString(36)}-${Math.floor(found.modified.getTime()).toString(36)}"`;
    const type = types[extname(found.path).toLowerCase()] ?? "application/octet-stream";
    // A name with a hash of its content in it never changes; everything else is asked for anew, cheaply, by its ETag.
    const hashed = /[.-][A-Za-z0-9_-]{8,}\.[a-z0-9]+$/.test(found.path) && /[\\/](assets|static|_next|_astro)[\\/]/.test(found.path);
    const headers = {
      "content-type": type,
      etag,
      "last-modified": found.modified.toUTCString(),
      "cache-control": hashed ? "public, max-age=31536000, immutable" : "no-cache",
      "accept-ranges": "bytes",
      "x-content-type-options": "nosniff",
    };
    const known = (request.headers["if-none-match"] ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    if (status === 200 && (known.includes(etag) || known.includes("*"))) {
      response.writeHead(304, headers).end();
      return;
    }
    const range = status === 200 && request.headers["if-range"] === undefined ? rangeOf(request.headers.range, found.size) : undefined;
    if (range === "unsatisfiable") return plain(response, 416, "Range not satisfiable\n", { "content-range": `bytes */${found.size}` });
    const { start, end } = range ?? { start: 0, end: found.size - 1 };
    response.writeHead(range === undefined ? status : 206, {
      ...headers,
      "content-length": end - start + 1,
      ...(range === undefined ? {} : { "content-range": `bytes ${start}-${end}/${found.size}` }),
    });
    if (request.method === "HEAD" || found.size === 0) response.end();
    else await pipeline(createReadStream("", { fd: found.handle, start, end, autoClose: false }), response);
  } finally {
    await found.handle.close();
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    spa: { type: "boolean", default: false },
    port: { type: "string", default: process.env["PORT"] ?? "8080" },
    host: { type: "string", default: process.env["HOST"] ?? "127.0.0.1" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  process.stdout.write("berth-static [FOLDER] [--spa] [--port N] [--host ADDRESS]\n");
} else {
  const site: Site = { root: realpathSync(resolve(positionals[0] ?? ".")), spa: values.spa };
  const server = createServer((request, response) => {
    answer(site, request, response).catch((error: unknown) => {
      // Most often the visitor went away in the middle; the answer cannot be mended once it began.
      if (!response.headersSent && !response.destroyed) plain(response, 500, "Internal error\n");
      else response.destroy();
      if (!(error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE"))
        process.stderr.write(`${String(error)}\n`);
    });
  });
  server.listen(Number(values.port), values.host, () => {
    const address = server.address();
    process.stdout.write(
      `serving ${site.root} on ${values.host}:${typeof address === "object" && address !== null ? address.port : values.port}\n`,
    );
  });
  // No new requests; those in flight finish.
  process.once("SIGTERM", () => {
    server.close();
    server.closeIdleConnections();
  });
}
