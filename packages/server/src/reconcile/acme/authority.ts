// What is said to a certificate authority (RFC 8555), by acme-client. Its own waiting and repeating is taken out: a refusal comes back as what the authority said,
// at once, and the queue decides when to ask again (promise 4).
import { AsyncLocalStorage } from "node:async_hooks";
import { readFile } from "node:fs/promises";
import { Agent } from "node:https";
import { getCACertificates } from "node:tls";
import type { Authorization, Client, Order } from "acme-client";
import type { AcmeSettings, Problem } from "../../core/acme.ts";

type Challenge = Authorization["challenges"][number];

/** The authority answered, and refused. */
export class AuthorityRefused extends Error {
  readonly problem: Problem;
  readonly status: number;
  /** ms that it asks us to stay away. */
  readonly retryAfter: number | undefined;
  constructor(problem: Problem, status: number, retryAfter: number | undefined) {
    super(problem.detail ?? problem.type ?? `status ${String(status)}`);
    this.name = "AuthorityRefused";
    this.problem = problem;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** No answer that could be understood. */
export class AuthorityUnreachable extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = "AuthorityUnreachable";
  }
}

export interface AccountKey {
  /** PEM. */
  readonly key: string;
  /** null: the authority does not know it yet. */
  readonly url: string | null;
}

export interface Authority {
  /** Its host, for people. */
  readonly name: string;
  /** Makes the account, or finds the one that this key has, and brings its contact up to date; returns its URL. */
  register(): Promise<string>;
  order(host: string): Promise<Order>;
  /** undefined: it knows the order no more. */
  find(url: string): Promise<Order | undefined>;
  authorizations(order: Order): Promise<Authorization[]>;
  /** What is shown to prove the host: the whole answer for http-01, the record's value for dns-01. */
  answerOf(challenge: Challenge): Promise<string>;
  /** The proof is there to be looked at. */
  ready(challenge: Challenge): Promise<void>;
  finalize(order: Order, host: string, key: string): Promise<Order>;
  /** PEM. */
  download(order: Order): Promise<string>;
}

/** ms for one answer. */
const answerWithin = 30_000;
const mostBytes = 1024 * 1024;

interface Conversation {
  readonly signal: AbortSignal;
  readonly agent: Agent;
  refused: { readonly problem: Problem; readonly status: number; readonly retryAfter: number | undefined } | undefined;
  broken: unknown;
}
const conversations = new AsyncLocalStorage<Conversation>();

/** Loaded when an authority is asked for the first time: most installations never do. */
let library: Promise<typeof import("acme-client")> | undefined;
async function load(): Promise<typeof import("acme-client")> {
  library ??= import("acme-client").then((acme) => {
    const { request, response } = acme.axios.interceptors;
    // Of its own: up to five repetitions with pauses of its choice.
    request.clear();
    response.clear();
    request.use((config) => {
      const talk = conversations.getStore();
      if (talk === undefined) throw new Error("an authority is asked outside of a conversation");
      return Object.assign(config, {
        signal: talk.signal,
        httpsAgent: talk.agent,
        proxy: false,
        timeout: answerWithin,
        maxContentLength: mostBytes,
        maxRedirects: 0,
      });
    });
    response.use(
      (answer) => {
        const talk = conversations.getStore();
        if (talk !== undefined)
          talk.refused =
            answer.status < 300
              ? undefined
              : {
                  problem: problemIn(answer.data, answer.status),
                  status: answer.status,
                  retryAfter: pauseIn(answer.headers["retry-after"]),
                };
        return answer;
      },
      (error: unknown) => {
        const talk = conversations.getStore();
        if (talk !== undefined) talk.broken = error;
        throw error;
      },
    );
    return acme;
  });
  return library;
}

/** `proxies`: the environment's words on proxies. Errors of its methods: `AuthorityRefused`, `AuthorityUnreachable`. */
export async function openAuthority(
  settings: AcmeSettings,
  account: AccountKey,
  proxies: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Authority> {
  const acme = await load();
  const name = new URL(settings.directory).host;
  const agent = new Agent({ ...(await trustOf(settings)), proxyEnv: { ...proxies } });
  const client: Client = new acme.Client({
    directoryUrl: settings.directory,
    accountKey: account.key,
    ...(account.url === null ? {} : { accountUrl: account.url }),
    ...(settings.binding === undefined ? {} : { externalAccountBinding: { kid: settings.binding.kid, hmacKey: settings.binding.key } }),
  });

  async function ask<T>(work: () => Promise<T>): Promise<T> {
    const talk: Conversation = { signal, agent, refused: undefined, broken: undefined };
    try {
      return await conversations.run(talk, work);
    } catch (error) {
      signal.throwIfAborted();
      if (talk.broken !== undefined) throw new AuthorityUnreachable(reasonOf(talk.broken), { cause: talk.broken });
      if (talk.refused !== undefined) throw new AuthorityRefused(talk.refused.problem, talk.refused.status, talk.refused.retryAfter);
      throw new AuthorityUnreachable(reasonOf(error), { cause: error });
    }
  }

  return {
    name,
    register: () =>
      ask(async () => {
        const contact = settings.contact === "" ? {} : { contact: [`mailto:${settings.contact}`] };
        if (account.url === null) await client.createAccount({ termsOfServiceAgreed: true, ...contact });
        else await client.updateAccount(contact);
        return client.getAccountUrl();
      }),
    order: (host) => ask(() => client.createOrder({ identifiers: [{ type: "dns", value: host }] })),
    async find(url) {
      try {
        return await ask(() => client.getOrder({ url } as Order));
      } catch (error) {
        if (error instanceof AuthorityRefused && (error.status === 404 || error.status === 410)) return undefined;
        throw error;
      }
    },
    authorizations: (order) => ask(() => client.getAuthorizations(order)),
    answerOf: (challenge) => client.getChallengeKeyAuthorization(challenge),
    async ready(challenge) {
      await ask(() => client.completeChallenge(challenge));
    },
    finalize: (order, host, key) =>
      ask(async () => {
        const [, csr] = await acme.crypto.createCsr({ altNames: [host] } as Parameters<typeof acme.crypto.createCsr>[0], key);
        return client.finalizeOrder(order, csr);
      }),
    download: (order) => ask(() => client.getCertificate(order)),
  };
}

/** Beside the system's authorities, not in their place. */
async function trustOf({ trust }: AcmeSettings): Promise<{ readonly ca?: string[] }> {
  if (trust === undefined) return {};
  try {
    return { ca: [...getCACertificates("default"), await readFile(trust, "utf8")] };
  } catch (error) {
    throw new AuthorityUnreachable(`the file of authorities to trust cannot be read (${reasonOf(error)})`, { cause: error });
  }
}

function problemIn(data: unknown, status: number): Problem {
  const found = typeof data === "object" && data !== null && !Buffer.isBuffer(data) ? (data as Problem) : {};
  return typeof found.type === "string" || typeof found.detail === "string"
    ? found
    : { detail: `it answered with status ${String(status)}`, status };
}

/** RFC 9110, 10.2.3: seconds, or a date. */
function pauseIn(header: unknown): number | undefined {
  if (typeof header !== "string") return undefined;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

/** A connection that failed at several addresses says so of each one. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return [...new Set(error.errors.map(reasonOf))].join("; ");
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return error.message === "" && cause !== undefined ? reasonOf(cause) : error.message.replace(/\.$/, "");
}
