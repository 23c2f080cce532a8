// The little that all objects of a Kubernetes API have in common. What else an object has is a claim of whoever asks for it.

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Who said what of an object, and when last. */
export interface ManagedFields {
  readonly manager?: string;
  readonly operation?: "Apply" | "Update";
  readonly subresource?: string;
  readonly time?: string;
  /** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/#ObjectMeta */
  readonly fieldsV1?: Readonly<Record<string, unknown>>;
}

/** What an answer has of it; most is absent in what is sent. Times are RFC 3339. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Opaque. */
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
  readonly managedFields?: readonly ManagedFields[];
}

/** An object as it stands in a list, where it does not say its kind. */
export interface Listed {
  readonly metadata: ObjectMeta;
}

export interface KubeObject extends Listed {
  readonly apiVersion: string;
  readonly kind: string;
}

/** `namespace/name`, or the name of what has no namespace. */
export function keyOf({ metadata }: Listed): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}
