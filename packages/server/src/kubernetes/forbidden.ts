// What a Forbidden is to an account whose rights are given namespace by namespace: the API looks at rights before it looks for the thing, so that it says Forbidden also where
// there is no namespace, or where it is just going and took its rights along. Then the answer is what those with rights would get.
import { KubeError } from "./errors.ts";
import type { KubeObject } from "./objects.ts";

interface Place {
  readonly namespace: string;
  /** A whole collection of the namespace. */
  readonly isCollection: boolean;
}

/**
 * The answer in place of the error, or throws: a KubeError of 404 when the namespace is not there, one of 403 with the cause `NamespaceTerminating` when it is going, and otherwise the error itself.
 * `find` asks for a namespace.
 */
export async function answerInsteadOf(
  error: unknown,
  { method, path }: { readonly method: string; readonly path: string },
  find: (name: string) => Promise<KubeObject | undefined>,
): Promise<string> {
  const place = error instanceof KubeError && error.status === 403 ? placeIn(path) : undefined;
  if (place === undefined) throw error;
  let found: KubeObject | undefined;
  try {
    found = await find(place.namespace);
  } catch (asked) {
    // Who may not even look at the namespace is told of the right that was missed first.
    if (asked instanceof KubeError) throw error;
    throw asked;
  }
  if (found === undefined) {
    if (method === "GET" && place.isCollection) return JSON.stringify({ metadata: { resourceVersion: "0" }, items: [] });
    throw new KubeError(404, { reason: "NotFound", message: `namespaces "${place.namespace}" not found` });
  }
  if (found.metadata.deletionTimestamp === undefined) throw error;
  throw new KubeError(403, {
    reason: "Forbidden",
    message: `namespace ${place.namespace} is being terminated`,
    details: { name: place.namespace, causes: [{ reason: "NamespaceTerminating" }] },
  });
}

function placeIn(path: string): Place | undefined {
  const [, namespace, name] = /^\/(?:api|apis\/[^/]+)\/[^/]+\/namespaces\/([^/?]+)\/[^/?]+(?:\/([^/?]+))?/.exec(path) ?? [];
  return namespace === undefined ? undefined : { namespace: decodeURIComponent(namespace), isCollection: name === undefined };
}
