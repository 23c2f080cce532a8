// An answer as it goes out. What many people ask for is put into words once, and given to all of them.

/** `T`, as JSON in UTF-8. Nobody changes it. */
export class Rendered<T> {
  /** Only says what it is of. */
  declare readonly of: T;
  readonly bytes: Buffer;

  constructor(value: T) {
    this.bytes = Buffer.from(JSON.stringify(value));
  }
}
