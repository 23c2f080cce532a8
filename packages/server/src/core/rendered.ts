// An answer as it goes out. What many people ask for is put into words once, and given to all of them.

/** `T`, as JSON in UTF-8. Nobody changes it. */
export class Rendered<T> {
  /** Only says what it is of. */
  declare readonly of: T;
  readonly bytes: Buffer;

  constructor(value: T) {
    const text = JSON.stringify(value);
    // Memory of its own: a small one from the pool that all share would keep the whole pool for as long as it is kept itself.
    this.bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
    this.bytes.write(text);
  }
}
