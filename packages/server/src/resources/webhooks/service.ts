// Webhooks of registries. What comes in by one wakes those who follow a tag of its registry, and nothing more: what the tag stands for is asked of the registry itself,
// so that a forged notification can cause a look at most. The answer is given once the look is a row (promise 2).
import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { apiPrefix } from "@berth/contract/api.ts";
import type { Webhook } from "@berth/contract/resources/webhooks.ts";
import { webhookVerbs } from "../../core/allowed.ts";
import { createBucket } from "../../core/bucket.ts";
import { BerthError } from "../../core/errors.ts";
import { readNotification, type Pushed } from "../../core/image/notification.ts";
import { isFollowed, partsOf } from "../../core/image/reference.ts";
import type { Page } from "../../core/page.ts";
import { transaction } from "../../db/transaction.ts";
import type { Call } from "../call.ts";
import type { ResourceDeps } from "../deps.ts";
import { audit, keepAnswer, wakeLooks } from "../intent.ts";
import { slice, toPage, type ListRequest } from "../page.ts";
import { comesWith } from "./secret.ts";
import * as store from "./store.ts";

export type WebhookService = ReturnType<typeof createWebhookService>;

export function createWebhookService(deps: ResourceDeps) {
  // A busy registry tells of every layer that is pulled or pushed; whoever guesses secrets may do it slowly.
  const accepted = createBucket({ burst: 200, perSecond: 50 });
  const refused = createBucket({ burst: 20, perSecond: 2 });
  const now = (): number => deps.clock().getTime();

  function limit(seconds: number): void {
    if (seconds > 0) throw new BerthError("too_many_requests", { seconds });
  }

  async function authentic(name: string, given: Parameters<typeof comesWith>[1]): Promise<store.WebhookRow> {
    const row = await store.findWebhook(deps.db, name);
    // One that is not there and a wrong secret are the same to whoever asks.
    if (row !== undefined && comesWith(opened(row), given)) return row;
    limit(refused.take("", now()));
    throw new BerthError("webhook_refused");
  }

  function opened({ name, ciphertext }: { readonly name: string; readonly ciphertext: string }): string {
    try {
      return deps.secretBox.open(ciphertext, store.webhookIdentity(name));
    } catch (cause) {
      throw new BerthError("webhook_unreadable", { webhook: name }, { cause });
    }
  }

  return {
    async list(query: ListRequest): Promise<Page<Webhook>> {
      const page = slice(store.webhookList, query);
      return toPage(await store.listWebhooks(deps.db, page), page, present);
    },

    /** Errors: `conflict`. */
    async create(call: Call, given: { name: string; registry: string }): Promise<{ webhook: Webhook; secret: string; path: string }> {
      const { name, registry } = given;
      const secret = randomBytes(32).toString("base64url");
      return transaction(deps.db, async (trx) => {
        const ciphertext = deps.secretBox.seal(secret, store.webhookIdentity(name));
        const row = await store.insertWebhook(trx, { name, registry: partsOf(`${registry}/x`).registry, ciphertext, by: call.by });
        if (row === undefined) throw new BerthError("conflict", { kind: "webhook", name });
        await audit(trx, call, "webhooks.create", `webhook:${name}`, { registry });
        return keepAnswer(trx, call, { webhook: present(row), secret, path: `${apiPrefix}/webhooks/registry/${name}` });
      });
    },

    /** Errors: `not_found`. */
    async remove(call: Call, name: string): Promise<void> {
      await transaction(deps.db, async (trx) => {
        if (!(await store.deleteWebhook(trx, name)))
          throw new BerthError("not_found", { kind: "webhook", name, hint: "`berth webhooks list` shows them." });
        await audit(trx, call, "webhooks.delete", `webhook:${name}`);
      });
    },

    /** Errors: `webhook_refused`, `webhook_unreadable`, `too_many_requests`, `notification_unknown`. */
    async notify(
      call: Pick<Call, "requestId">,
      name: string,
      given: { readonly body: Buffer; readonly headers: IncomingHttpHeaders; readonly secret: string | undefined },
    ): Promise<{ components: number }> {
      const { registry } = await authentic(name, given);
      limit(accepted.take(name, now()));
      const event = given.headers["x-github-event"];
      const found = readNotification(jsonOf(given.body), typeof event === "string" ? event : undefined);
      if (found.format === undefined) throw new BerthError("notification_unknown", { reason: found.reason });
      const { format, pushed } = found;
      return transaction(deps.db, async (trx) => {
        await store.touchWebhook(trx, name);
        if (pushed.length === 0) return { components: 0 };
        const meant = (await store.followers(trx)).filter(({ image }) => isFollowed(image) && isMeant(registry, pushed, image));
        if (meant.length === 0) return { components: 0 };
        const by = `webhook ${name}`;
        await store.askToLook(
          trx,
          meant.map(({ id }) => id),
          by,
        );
        for (const [key, cluster] of new Map(meant.map((one) => [one.stackId, one.cluster]))) await wakeLooks(trx, key, cluster);
        await audit(trx, { by, requestId: call.requestId }, "webhooks.notify", `webhook:${name}`, {
          format,
          components: meant.slice(0, 50).map(({ stack, component }) => `${stack}/${component}`),
        });
        return { components: meant.length };
      });
    },
  };
}

function isMeant(registry: string, pushed: readonly Pushed[], image: string): boolean {
  const parts = partsOf(image);
  return (
    parts.registry === registry &&
    pushed.some(
      ({ repository, tag }) =>
        partsOf(`${registry}/${repository}`).repository === parts.repository && (tag === undefined || tag === parts.tag),
    )
  );
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8")) as unknown;
  } catch (cause) {
    throw new BerthError("notification_unknown", { reason: "it is not JSON" }, { cause });
  }
}

function present(row: store.WebhookRow): Webhook {
  return {
    name: row.name,
    registry: row.registry,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
    ...(row.notified_at === null ? {} : { notifiedAt: row.notified_at.toISOString() }),
    // Who sees one may do everything with it: the routes ask for the same permission.
    allowed: webhookVerbs(),
  };
}
