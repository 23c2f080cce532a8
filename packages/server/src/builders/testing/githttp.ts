// Real repositories behind git's own http-backend, with passwords, redirects and stalls at a test's will.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const identity = {
  GIT_AUTHOR_NAME: "Test Author",
  GIT_AUTHOR_EMAIL: "author@example.com",
  GIT_COMMITTER_NAME: "Test",
  GIT_COMMITTER_EMAIL: "test@example.com",
  GIT_AUTHOR_DATE: "2024-05-06T07:08:09Z",
  GIT_COMMITTER_DATE: "2024-05-06T07:08:10+02:00",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
};

/** Runs git in a folder and returns what it printed. */
export function git(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, {
    cwd,
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", HOME: cwd, ...identity },
    stdio: ["ignore", "pipe", "pipe"],
  }).trim();
}

export interface GitServer {
  readonly url: string;
  readonly port: number;
  /** `method path authorization` of each request. */
  readonly requests: string[];
  /** Called first; returns true when it has answered (or will never). */
  before: (request: IncomingMessage, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

/** Serves all repositories below `root` on loopback. */
export async function serveGit(root: string, auth?: { readonly user: string; readonly password: string }): Promise<GitServer> {
  const running = new Set<ChildProcess>();
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(`${request.method ?? ""} ${request.url ?? ""} ${request.headers.authorization ?? "-"}`);
    if (result.before(request, response)) return;
    const wanted = auth === undefined ? undefined : `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString("base64")}`;
    if (wanted !== undefined && request.headers.authorization !== wanted) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      return;
    }
    answer(root, request, response, running);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const result: GitServer = {
    url: `http://127.0.0.1:${String(port)}`,
    port,
    requests,
    before: () => false,
    close: async () => {
      for (const child of running) child.kill("SIGKILL");
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
  return result;
}

function answer(root: string, request: IncomingMessage, response: ServerResponse, running: Set<ChildProcess>): void {
  const url = new URL(request.url ?? "/", "http://x");
  const env = {
    PATH: process.env["PATH"] ?? "",
    GIT_PROJECT_ROOT: root,
    GIT_HTTP_EXPORT_ALL: "1",
    PATH_INFO: url.pathname,
    QUERY_STRING: url.search.slice(1),
    REQUEST_METHOD: request.method ?? "GET",
    CONTENT_TYPE: request.headers["content-type"] ?? "",
    HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
    GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
    ...identity,
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "safe.directory",
    GIT_CONFIG_VALUE_0: "*",
  };
  const child = spawn("git", ["http-backend"], { env, stdio: ["pipe", "pipe", "ignore"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.stdin.on("error", () => undefined);
  request.pipe(child.stdin);
  let head: Buffer | undefined = Buffer.alloc(0);
  child.stdout.on("data", (data: Buffer) => {
    if (head === undefined) {
      response.write(data);
      return;
    }
    head = Buffer.concat([head, data]);
    const end = head.indexOf("\r\n\r\n");
    if (end === -1) return;
    const headers = head
      .subarray(0, end)
      .toString()
      .split("\r\n")
      .map((line) => line.split(/: (.*)/s) as [string, string]);
    response.writeHead(
      Number(headers.find(([name]) => name === "Status")?.[1].slice(0, 3) ?? 200),
      Object.fromEntries(headers.filter(([name]) => name !== "Status").map(([name, value]) => [name, value])),
    );
    response.write(head.subarray(end + 4));
    head = undefined;
  });
  child.stdout.on("end", () => {
    response.end();
  });
}
