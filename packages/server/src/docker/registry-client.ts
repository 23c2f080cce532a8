// What Berth itself asks a registry, beside what its daemon does: whether it may push there, to delete a manifest, and to keep what refers to an image. No library that is kept up does it.
// The distribution specification: https://github.com/opencontainers/distribution-spec/blob/main/spec.md; tokens: https://distribution.github.io/distribution/spec/auth/token/
import { getCACertificates } from "node:tls";
import { Agent, EnvHttpProxyAgent, request, type Dispatcher } from "undici";
import type { RegistryLogin } from "../core/image/reference.ts";

/** The registry answered, and refused. */
export class RegistryRefused extends Error {
  override readonly name = "RegistryRefused";
  readonly status: number;
  constructor(status: number, said: string) {
    super(said === "" ? `it answered ${String(status)}` : `it answered ${String(status)}: ${said}`);
    this.status = status;
  }
}

/** Nobody answered, or nothing that can be understood. */
export class RegistryUnreachable extends Error {
  override readonly name = "RegistryUnreachable";
}

export interface RegistryTarget {
  /** As it begins the names of images. */
  readonly host: string;
  readonly plainHttp: boolean;
  readonly login: Pick<RegistryLogin, "username" | "password"> | undefined;
  /** `HTTPS_PROXY` and its like. */
  readonly proxies: Readonly<Record<string, string>>;
}

/** A list of platforms before the image of one: what a daemon would ask for by the tag. */
const manifests = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** ms for one answer. */
const patience = 20_000;

export class RegistryClient implements Disposable {
  readonly #target: RegistryTarget;
  readonly #base: string;
  readonly #dispatcher: Dispatcher;

  constructor(target: RegistryTarget) {
    this.#target = target;
    this.#base = `${target.plainHttp ? "http" : "https"}://${target.host}`;
    const { HTTP_PROXY, http_proxy = HTTP_PROXY, HTTPS_PROXY, https_proxy = HTTPS_PROXY, NO_PROXY, no_proxy = NO_PROXY } = target.proxies;
    // The machine's own authorities, too: the daemon trusts those.
    const connect = { ca: [...getCACertificates("default"), ...getCACertificates("system")] };
    this.#dispatcher =
      http_proxy === undefined && https_proxy === undefined
        ? new Agent({ connect })
        : new EnvHttpProxyAgent({
            requestTls: connect,
            ...(http_proxy === undefined ? {} : { httpProxy: http_proxy }),
            ...(https_proxy === undefined ? {} : { httpsProxy: https_proxy }),
            ...(no_proxy === undefined ? {} : { noProxy: no_proxy }),
          });
  }

  /** Begins an upload, and takes it back. `repository` is without the host. Errors: RegistryRefused, RegistryUnreachable. */
  async checkPush(repository: string, signal: AbortSignal): Promise<void> {
    const { headers } = await this.#ask("POST", `/v2/${repository}/blobs/uploads/`, `${repository}:pull,push`, [202], signal);
    const location = headers["location"];
    // One that stays is purged by the registry itself.
    if (typeof location === "string")
      await this.#ask("DELETE", new URL(location, this.#base).href, `${repository}:pull,push`, [200, 202, 204, 404, 405], signal);
  }

  /** `gone`: it is not there, or not any more. `stays`: this registry deletes nothing. Errors: RegistryRefused, RegistryUnreachable. */
  async removeManifest(repository: string, digest: string, signal: AbortSignal): Promise<"gone" | "stays"> {
    const path = `/v2/${repository}/manifests/${digest}`;
    const { status } = await this.#ask("DELETE", path, `${repository}:delete`, [200, 202, 404, 405], signal);
    return status === 405 ? "stays" : "gone";
  }

  /** The digest that a tag stands for now. Errors: RegistryRefused (404: there is no such tag), RegistryUnreachable. */
  async digestOf(repository: string, tag: string, signal: AbortSignal): Promise<string> {
    const path = `/v2/${repository}/manifests/${tag}`;
    const { headers } = await this.#ask("HEAD", path, `${repository}:pull`, [200], signal, { accept: manifests });
    const digest = headers["docker-content-digest"];
    if (typeof digest !== "string" || !/^sha256:[0-9a-f]{64}$/.test(digest)) throw new RegistryUnreachable("it does not say the digest");
    return digest;
  }

  /** The manifest that a tag or a digest stands for, as its bytes. Errors: RegistryRefused (404: there is none), RegistryUnreachable. */
  async manifest(repository: string, reference: string, signal: AbortSignal): Promise<{ readonly content: Buffer; readonly type: string }> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const { content, headers } = await this.#ask("GET", path, `${repository}:pull`, [200], signal, { accept: manifests });
    return { content, type: String(headers["content-type"] ?? "") };
  }

  /** In one piece: for what is small. One that is there is left as it is. Errors: RegistryRefused, RegistryUnreachable. */
  async putBlob(repository: string, digest: string, content: Buffer, signal: AbortSignal): Promise<void> {
    const scope = `${repository}:pull,push`;
    const there = await this.#ask("HEAD", `/v2/${repository}/blobs/${digest}`, scope, [200, 404], signal);
    if (there.status === 200) return;
    const { headers } = await this.#ask("POST", `/v2/${repository}/blobs/uploads/`, scope, [202], signal);
    const location = headers["location"];
    if (typeof location !== "string") throw new RegistryUnreachable("it does not say where to upload to");
    const to = new URL(location, this.#base);
    to.searchParams.set("digest", digest);
    await this.#ask("PUT", to.href, scope, [201], signal, { "content-type": "application/octet-stream" }, content);
  }

  /** `knowsSubject`: the registry lists it among what refers to its subject. Errors: RegistryRefused, RegistryUnreachable. */
  async putManifest(
    repository: string,
    reference: string,
    { type, content }: { readonly type: string; readonly content: Buffer },
    signal: AbortSignal,
  ): Promise<{ readonly knowsSubject: boolean }> {
    const path = `/v2/${repository}/manifests/${reference}`;
    const { headers } = await this.#ask("PUT", path, `${repository}:pull,push`, [201], signal, { "content-type": type }, content);
    return { knowsSubject: headers["oci-subject"] !== undefined };
  }

  [Symbol.dispose](): void {
    void this.#dispatcher.destroy();
  }

  async #ask(
    method: Dispatcher.HttpMethod,
    path: string,
    scope: string,
    good: readonly number[],
    signal: AbortSignal,
    more: Record<string, string> = {},
    body?: Buffer,
  ): Promise<Answer> {
    const url = new URL(path, this.#base).href;
    let answer = await this.#send(method, url, more, signal, body);
    if (answer.status === 401) {
      const authorization = await this.#authorization(String(answer.headers["www-authenticate"] ?? ""), scope, signal);
      if (authorization !== undefined) answer = await this.#send(method, url, { ...more, authorization }, signal, body);
    }
    if (!good.includes(answer.status)) throw new RegistryRefused(answer.status, wordsOf(answer.text));
    return answer;
  }

  /** What the challenge asks for; undefined: there is nothing to give. */
  async #authorization(challenge: string, scope: string, signal: AbortSignal): Promise<string | undefined> {
    const { login, plainHttp } = this.#target;
    const basic = login === undefined ? undefined : `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
    if (/^basic\b/i.test(challenge)) return basic;
    const given = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, value]));
    if (!/^bearer\b/i.test(challenge) || given["realm"] === undefined || !URL.canParse(given["realm"])) return undefined;
    const realm = new URL(given["realm"]);
    if (realm.protocol !== "https:" && !plainHttp) throw new RegistryUnreachable("it wants the password without TLS");
    if (given["service"] !== undefined) realm.searchParams.set("service", given["service"]);
    realm.searchParams.set("scope", given["scope"] ?? `repository:${scope}`);
    const { status, text } = await this.#send("GET", realm.href, basic === undefined ? {} : { authorization: basic }, signal);
    if (status !== 200) throw new RegistryRefused(status, wordsOf(text));
    const { token, access_token: other } = parse(text) as { token?: unknown; access_token?: unknown };
    const found = typeof token === "string" ? token : other;
    if (typeof found !== "string") throw new RegistryUnreachable("its token service gave no token");
    return `Bearer ${found}`;
  }

  async #send(
    method: Dispatcher.HttpMethod,
    url: string,
    headers: Record<string, string>,
    signal: AbortSignal,
    body?: Buffer,
  ): Promise<Answer> {
    try {
      const within = AbortSignal.any([signal, AbortSignal.timeout(patience)]);
      const answer = await request(url, {
        method,
        headers: { "user-agent": "berth", ...headers },
        dispatcher: this.#dispatcher,
        signal: within,
        ...(body === undefined ? {} : { body }),
      });
      const content = Buffer.from(await answer.body.arrayBuffer());
      return { status: answer.statusCode, headers: answer.headers, content, text: content.toString("utf8", 0, 65_536) };
    } catch (error) {
      signal.throwIfAborted();
      throw new RegistryUnreachable(reasonOf(error), { cause: error });
    }
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly content: Buffer;
  /** Its beginning. */
  readonly text: string;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "TimeoutError" ? `no answer within ${String(patience / 1_000)} s` : error.message || error.name;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RegistryUnreachable("what it answers is not JSON", { cause: error });
  }
}

/** `{"errors": [{"code", "message"}]}`, or whatever a proxy in between says. */
function wordsOf(text: string): string {
  const found = /"message"\s*:\s*"([^"]{1,300})"/.exec(text)?.[1];
  return found ?? (text.trim().split("\n")[0] ?? "").slice(0, 200);
}
