// The ETags that came with answers, beside the answers: they stay exactly what the API said. Browser-safe.
const etags = new WeakMap<object, string>();

export function rememberEtag(answer: object, etag: string): void {
  etags.set(answer, etag);
}

/** The ETag that came with this answer of the client; goes back as `ifMatch`. */
export function etagOf(answer: object): string | undefined {
  return etags.get(answer);
}
