// Brings one host to its certificate and keeps it there. What is done next follows from what the authority says of the order, so that a server that died anywhere
// is followed by one that goes on (promise 2); the rows hold what the authority cannot tell: the order's address, the key, and what is shown as proof.
import { setTimeout as delay } from "node:timers/promises";
import type { Authorization, Order } from "acme-client";
import { cause, type Cause } from "@berth/contract/causes.ts";
import type { EventCode } from "@berth/contract/resources/events.ts";
import { certificateNameOf, mostInHour, pauseBefore, renewalOf, refusalCause, unprovedCause, type AcmeSettings } from "../../core/acme.ts";
import { checkCertificate, covers } from "../../core/certificates.ts";
import { appendEvent } from "../../db/events.ts";
import type { KeptProof } from "../../db/tables-acme.ts";
import type { Trx } from "../../db/transaction.ts";
import {
  changeAccount,
  changeAutomatic,
  findAutomatic,
  forgetAutomatic,
  orderedSince,
  pendingKeyIdentity,
  servedBy,
  type AutomaticChange,
  type AutomaticRow,
} from "../../resources/certificates/automatic.ts";
import { putCertificate, wakeEdges } from "../../resources/certificates/store.ts";
import type { HandlerContext, HandlerResult } from "../loop.ts";
import { isUnknownAccount, newKey, openAccount, type AccountDeps } from "./account.ts";
import type { Authority } from "./authority.ts";
import { Failed, failureOf, type Failure } from "./failure.ts";
import { wantOf } from "./hosts.ts";
import { dropProof, showProof, type ProofDeps } from "./proof.ts";

interface Deps extends AccountDeps, ProofDeps {
  /** 0 to 1 */
  readonly random: () => number;
}
/** Without settings nobody wants certificates, and what there is stays as it is. */
export type HostDeps = Omit<Deps, "settings"> & { readonly settings: AcmeSettings | undefined };
type Context = Pick<HandlerContext, "commit" | "signal">;

/** ms that one claim waits for the authority; then the row is taken anew. */
const patience = 60_000;
/** ms between two looks at what the authority decides. */
const look = { first: 250, most: 3_000 } as const;
/** ms after which an order that the authority does not decide is given up. */
const orderLife = 3_600_000;
/** ms until the limit of orders in an hour is looked at again. */
const crowded = 5 * 60_000;

/** `host` is the row's key. Writes only under the claim's lease. */
export async function reconcileHost(given: HostDeps, host: string, context: Context): Promise<HandlerResult> {
  const row = await findAutomatic(given.db, host);
  if (row === undefined || given.settings === undefined) return {};
  const deps: Deps = { ...given, settings: given.settings };
  const want = await wantOf(deps.db, row.cluster, host, deps.settings);
  const work = new HostWork(deps, row, context);
  return want === "wanted" ? work.run() : work.leave(want);
}

/** One claim's work on one host. */
class HostWork {
  readonly #deps: Deps;
  readonly #context: Context;
  #row: AutomaticRow;

  constructor(deps: Deps, row: AutomaticRow, context: Context) {
    this.#deps = deps;
    this.#row = row;
    this.#context = context;
  }

  async run(): Promise<HandlerResult> {
    const now = this.#deps.clock();
    // What an order that ended left behind.
    if (this.#row.order_url === null) await this.#cleanUp();
    const { phase, renew_at: renewal, ends_at: end, next_at: next } = this.#row;
    if (phase === "issued" && end !== null && renewal !== null && renewal > now) return { again: renewal };
    if (next !== null && next > now) return { again: next };
    try {
      return await this.#proceed();
    } catch (error) {
      this.#context.signal.throwIfAborted();
      return this.#fail(error);
    }
  }

  /** Not wanted any more: an operator's own is in its place, or nothing is served there. One that is valid stays, in case the host comes back. */
  async leave(why: "given" | "unrouted"): Promise<HandlerResult> {
    await this.#cleanUp();
    const { host, ends_at: end } = this.#row;
    if (why === "unrouted" && end !== null && end > this.#deps.clock()) {
      await this.#change({ phase: "issued", order_url: null, ciphertext: null });
      return { again: end };
    }
    await this.#context.commit(async (trx) => {
      await forgetAutomatic(trx, { host, certificate: this.#row.certificate });
      await wakeEdges(trx);
    });
    return {};
  }

  async #proceed(): Promise<HandlerResult> {
    const { clock } = this.#deps;
    const authority = await openAccount(this.#deps, this.#row.cluster, this.#context.signal);
    const until = clock().getTime() + patience;
    let order = await this.#orderUnderWay(authority);
    if (order === undefined) {
      const wait = await this.#pauseBeforeOrder();
      if (wait !== undefined) {
        await this.#change({ next_at: wait });
        return { again: wait };
      }
      order = await this.#order(authority);
    }
    const { url } = order;
    for (let pause: number = look.first; ; pause = Math.min(pause * 2, look.most)) {
      if (order.status === "ready") order = await this.#finalize(authority, order);
      if (order.status === "valid") return this.#take(authority, order);
      if (order.status === "invalid") throw new Failed(await this.#whyInvalid(authority, order));
      if (order.status === "pending") await this.#prove(authority, order);
      if (clock().getTime() > until) return this.#later(authority);
      await delay(pause, undefined, { signal: this.#context.signal });
      const seen = await authority.find(url);
      if (seen === undefined) throw new Failed(refusalCause(authority.name, this.#row.host, { detail: "it knows the order no more" }));
      order = seen;
    }
  }

  /** The authority has not decided yet. */
  #later(authority: Authority): HandlerResult {
    const now = this.#deps.clock().getTime();
    if (this.#row.ordered_at !== null && now - this.#row.ordered_at.getTime() > orderLife)
      throw new Failed(refusalCause(authority.name, this.#row.host, { detail: "it did not decide within an hour" }));
    return { again: new Date(now + look.most) };
  }

  /** undefined: there is none, or none that could still become a certificate. */
  async #orderUnderWay(authority: Authority): Promise<Order | undefined> {
    const { order_url: url, directory } = this.#row;
    if (url === null) return undefined;
    const order = directory === this.#deps.settings.directory ? await authority.find(url) : undefined;
    const expired = order?.expires !== undefined && order.status !== "valid" && new Date(order.expires) < this.#deps.clock();
    // A certificate whose key is lost is none.
    const keyless = order?.status === "valid" && this.#key() === undefined;
    if (order !== undefined && !expired && !keyless) return order;
    await this.#cleanUp();
    return undefined;
  }

  /** The limits of authorities are never met by a loop: when to order, where it is not now. */
  async #pauseBeforeOrder(): Promise<Date | undefined> {
    const { db, clock, random } = this.#deps;
    const { attempts, failures, ordered_at: last, cluster } = this.#row;
    const now = clock().getTime();
    const next = last === null ? now : last.getTime() + pauseBefore(attempts, failures, random());
    if (next > now) return new Date(next);
    return (await orderedSince(db, cluster, new Date(now - 3_600_000))) >= mostInHour ? new Date(now + crowded) : undefined;
  }

  /** Counted before it is asked for. */
  async #order(authority: Authority): Promise<Order> {
    const { host, attempts } = this.#row;
    const { clock, settings } = this.#deps;
    const begun = { attempts: attempts + 1, ordered_at: clock(), directory: settings.directory, next_at: null };
    await this.#change({ ...begun, phase: "ordering", order_url: null, ciphertext: null });
    const order = await authority.order(host);
    await this.#change({ order_url: order.url });
    return order;
  }

  async #prove(authority: Authority, order: Order): Promise<void> {
    const { type } = this.#deps.settings.proof;
    for (const authorization of await authority.authorizations(order)) {
      if (authorization.status === "invalid") throw new Failed(unproved(authority, this.#row.host, authorization));
      if (authorization.status !== "pending") continue;
      const challenge = authorization.challenges.find((one) => one.type === type);
      if (challenge === undefined) {
        const offered = authorization.challenges.map((one) => one.type).join(", ");
        throw new Failed(cause("proof_not_offered", { authority: authority.name, host: this.#row.host, proof: type, offered }));
      }
      // It is being looked at already.
      if (challenge.status !== "pending") continue;
      const proof: KeptProof = { type, token: challenge.token, answer: await authority.answerOf(challenge) };
      if (this.#row.challenge?.token !== proof.token) await this.#change({ phase: "proving", challenge: proof });
      await showProof(this.#deps, { cluster: this.#row.cluster, host: this.#row.host, proof }, this.#context.signal);
      await authority.ready(challenge);
    }
  }

  /** The key is kept before the authority hears of it: a certificate without its key would be one ordered for nothing. */
  async #finalize(authority: Authority, order: Order): Promise<Order> {
    const { host } = this.#row;
    const kept = this.#key();
    const key = kept ?? newKey();
    if (kept === undefined) await this.#change({ phase: "issuing", ciphertext: this.#deps.secretBox.seal(key, pendingKeyIdentity(host)) });
    return authority.finalize(order, host, key);
  }

  async #take(authority: Authority, order: Order): Promise<HandlerResult> {
    const { clock, random, secretBox } = this.#deps;
    const { host, cluster } = this.#row;
    const chain = await authority.download(order);
    const key = this.#key() ?? "";
    const now = clock();
    const facts = checkCertificate(chain, key, now);
    if (!covers(facts.hosts, host))
      throw new Failed(cause("certificate_unusable", { authority: authority.name, host, reason: "it names another host" }));
    const name = certificateNameOf(host);
    const renewal = renewalOf(facts.notBefore, facts.notAfter, random());
    await this.#context.commit(async (trx) => {
      await putCertificate(trx, secretBox, { name, chain, key, facts, isDefault: undefined, by: "berth", keptBy: cluster });
      await changeAutomatic(trx, host, {
        phase: "issued",
        order_url: null,
        ciphertext: null,
        attempts: 0,
        failures: 0,
        next_at: null,
        cause: null,
        failed_at: null,
        certificate: name,
        issued_at: now,
        renew_at: renewal,
      });
      await this.#tell(trx, "certificate_issued", { authority: authority.name, until: facts.notAfter.toISOString() });
      await wakeEdges(trx);
    });
    await this.#cleanUp();
    return { again: renewal };
  }

  async #whyInvalid(authority: Authority, order: Order): Promise<Cause> {
    const { host } = this.#row;
    const failed = (await authority.authorizations(order)).find(({ status }) => status === "invalid");
    if (failed !== undefined) return unproved(authority, host, failed);
    return refusalCause(authority.name, host, order.error ?? { detail: "it gave no reason" });
  }

  async #fail(error: unknown): Promise<HandlerResult> {
    const { settings, clock, db } = this.#deps;
    const { host, cluster } = this.#row;
    if (isUnknownAccount(error)) await changeAccount(db, cluster, settings.directory, { url: null });
    const failures = this.#row.failures + 1;
    const failure = this.#failureOf(error, failures);
    if (failure === undefined) throw error;
    const authority = new URL(settings.directory).host;
    const { because, keepsOrder, pause } = failure;
    const now = clock();
    const next = new Date(now.getTime() + pause);
    await this.#context.commit(async (trx) => {
      const ended = keepsOrder ? {} : { order_url: null, ciphertext: null };
      await changeAutomatic(trx, host, {
        phase: "waiting",
        attempts: failures,
        failures,
        next_at: next,
        cause: because,
        failed_at: now,
        ...ended,
      });
      await this.#tell(trx, "certificate_failed", { authority, next: next.toISOString() }, because);
    });
    if (!keepsOrder) await this.#cleanUp();
    return { again: next };
  }

  #failureOf(error: unknown, failures: number): Failure | undefined {
    const { settings, random } = this.#deps;
    const { host, cluster } = this.#row;
    const hook = settings.proof.type === "dns-01" ? settings.proof.hook : "";
    return failureOf(error, { host, cluster, authority: new URL(settings.directory).host, hook, failures, random: random() });
  }

  /** Takes back what is shown as proof. Where that fails it is told and left: it proves nothing any more, and must not stand in the way of the next certificate. */
  async #cleanUp(): Promise<void> {
    const { cluster, host, challenge: proof } = this.#row;
    if (proof === null) return;
    let left: Cause | undefined;
    try {
      await dropProof(this.#deps, { cluster, host, proof }, this.#context.signal);
    } catch (error) {
      this.#context.signal.throwIfAborted();
      left = this.#failureOf(error, 1)?.because;
      if (left === undefined) throw error;
    }
    await this.#context.commit(async (trx) => {
      await changeAutomatic(trx, host, { challenge: null });
      if (left !== undefined) await this.#tell(trx, "certificate_proof_left", {}, left);
    });
    this.#row = { ...this.#row, challenge: null };
  }

  /** Of the certificate to be; undefined: there is none yet, or it cannot be opened any more. */
  #key(): string | undefined {
    const { ciphertext, host } = this.#row;
    try {
      return ciphertext === null ? undefined : this.#deps.secretBox.open(ciphertext, pendingKeyIdentity(host));
    } catch {
      // Sealed with a key that was given up: another one is made.
      return undefined;
    }
  }

  async #change(change: AutomaticChange): Promise<void> {
    await this.#context.commit((trx) => changeAutomatic(trx, this.#row.host, change));
    this.#row = { ...this.#row, ...change };
  }

  /** For those who serve there, too. */
  async #tell(trx: Trx, code: EventCode, params: Record<string, unknown>, because?: Cause): Promise<void> {
    const { host } = this.#row;
    const of = await servedBy(trx, host);
    await appendEvent(trx, {
      code,
      params: { host, ...params },
      topics: [`certificate:${host}`, ...(of === undefined ? [] : [`stack:${of.stack}`, `component:${of.stack}/${of.component}`])],
      ...(of === undefined ? {} : { teamId: of.teamId, stack: of.stack, component: of.component }),
      ...(because === undefined ? {} : { cause: because }),
    });
  }
}

function unproved(authority: Authority, host: string, { challenges }: Authorization): Cause {
  const problem = challenges.find(({ error }) => error !== undefined)?.error;
  return unprovedCause(authority.name, host, problem ?? { detail: "it gave no reason" });
}
