// What somebody else made of a Service or HTTPRoute, field by field: what is there, compared with a dry run of what Berth put.
import type { KubeApi } from "../../kubernetes/api.ts";
import { listed } from "../../kubernetes/list.ts";
import type { Difference } from "../engine.ts";
import { asPut } from "./as-put.ts";
import { changesOf, differenceOf, ofOthers } from "./differences.ts";
import type { HTTPRoute, Service } from "./routes.ts";

type Object_ = Service | HTTPRoute;

export class RouteLooks {
  readonly #api: KubeApi;

  constructor(api: KubeApi) {
    this.#api = api;
  }

  /** None when it is gone, or is as it was put. Errors: as of KubeApi.request. */
  async differences(object: Object_, signal: AbortSignal): Promise<Difference[]> {
    const { kind, metadata } = object;
    // Found by its name: Berth has the right to list them, and none to get one.
    const place = { namespace: metadata.namespace, fields: `metadata.name=${metadata.name}`, signal };
    const [live] = await listed<Object_>(this.#api, kind === "Service" ? "Service" : "HTTPRoute", place);
    if (live === undefined) return [];
    const { spec } = (await asPut<Object_>(this.#api, object, signal)) ?? object;
    const { managedFields = [] } = live.metadata;
    const name = `${kind} ${metadata.name}`;
    return ofOthers(changesOf({ spec }, live), managedFields).map((change) => differenceOf(name, change, managedFields));
  }
}
