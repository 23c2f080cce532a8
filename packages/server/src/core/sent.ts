// Turns items into server-sent events: which part of an item is its id, and what is sent of it.

/** One event of a stream; without an id a reader cannot resume after it. */
export interface Sent<T> {
  readonly id?: string;
  readonly data: T;
}

export async function* sent<Item, T>(items: AsyncIterable<Item>, event: (item: Item) => Sent<T>): AsyncGenerator<Sent<T>> {
  for await (const item of items) yield event(item);
}
