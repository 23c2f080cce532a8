// Reads collections page by page, so that neither memory nor the event loop has to hold one whole.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
import { setImmediate as turn } from "node:timers/promises";
import type { KubeApi } from "./api.ts";
import { isExpired, KubeProtocolError } from "./errors.ts";
import type { KubeObject, Listed } from "./objects.ts";
import { pathOf, type Kind } from "./paths.ts";

export interface Selection {
  /** Absent: of all namespaces. */
  readonly namespace?: string | undefined;
  /** A label selector, as in `app=web,tier!=cache`. */
  readonly labels?: string | undefined;
  /** A field selector, as in `spec.nodeName=a`. */
  readonly fields?: string | undefined;
}

export interface ListOptions extends Selection {
  readonly pageSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Of the whole collection: a watch from here on misses nothing. */
  readonly resourceVersion: string;
  /** The listing began anew with this page: pages before it do not count. */
  readonly anew: boolean;
}

interface ListAnswer<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

/** Listings that begin anew again and again belong to a server that forgets faster than it answers. */
const mostBeginnings = 5;
const defaultPageSize = 500;

/** The pages of a collection; all of them, from the last one that is `anew`, are one state of it. Errors: as of KubeApi.request. */
export async function* listPages<T extends Listed = KubeObject>(
  api: KubeApi,
  kind: Kind,
  options: ListOptions = {},
): AsyncGenerator<Page<T>, void> {
  const { namespace, labels, fields, pageSize = defaultPageSize, signal } = options;
  const path = pathOf(kind, namespace);
  let token: string | undefined;
  let anew = true;
  for (let beginnings = 1; ;) {
    let answer: ListAnswer<T>;
    try {
      const query = { limit: pageSize, continue: token, labelSelector: labels, fieldSelector: fields };
      answer = await api.request<ListAnswer<T>>("GET", path, { query, signal });
    } catch (error) {
      // The token is older than what the server remembers.
      if (!isExpired(error) || token === undefined || beginnings >= mostBeginnings) throw error;
      beginnings++;
      token = undefined;
      anew = true;
      continue;
    }
    const resourceVersion = answer?.metadata?.resourceVersion;
    if (resourceVersion === undefined || !Array.isArray(answer.items ?? [])) throw new KubeProtocolError(`GET ${path} gave no list`);
    yield { items: answer.items ?? [], resourceVersion, anew };
    anew = false;
    token = answer.metadata?.continue;
    if (token === undefined || token === "") return;
    await turn();
  }
}

/**
 * Each object of a collection; returns the collection's resourceVersion. When the listing has to begin anew, an object that changed since it was given is given again, the later one
 * being the newer: keep them by their key. Errors: as of KubeApi.request.
 */
export async function* listAll<T extends Listed = KubeObject>(
  api: KubeApi,
  kind: Kind,
  options: ListOptions = {},
): AsyncGenerator<T, string> {
  const given = new Map<string | undefined, string | undefined>();
  let version = "";
  for await (const { items, resourceVersion } of listPages<T>(api, kind, options)) {
    version = resourceVersion;
    for (const item of items) {
      const { uid, resourceVersion: own } = item.metadata;
      if (uid !== undefined && given.get(uid) === own && given.has(uid)) continue;
      given.set(uid, own);
      yield item;
    }
  }
  return version;
}

/** All of a collection that is known to be small. Errors: as of `listAll`. */
export async function listed<T extends Listed = KubeObject>(api: KubeApi, kind: Kind, options: ListOptions = {}): Promise<T[]> {
  const found: T[] = [];
  for await (const one of listAll<T>(api, kind, options)) found.push(one);
  return found;
}
