// Copies of what was read, for as long as a write needs them. Large ones are used again and again: a body of a gigabyte would otherwise leave as much garbage behind.

const size = 64 * 1024;
/** Large copies that wait to be used again, at most. */
const mostSpare = 32;
const spare: Buffer[] = [];

/** `release` is called once, when the bytes are written or will never be. */
export interface Copy {
  readonly bytes: Buffer;
  readonly release: () => void;
}

const nothing = (): void => undefined;

export function copyOf(buffer: Buffer, start: number, end: number): Copy {
  const length = end - start;
  if (length < size / 4 || length > size) return { bytes: Buffer.from(buffer.subarray(start, end)), release: nothing };
  const whole = spare.pop() ?? Buffer.allocUnsafeSlow(size);
  buffer.copy(whole, 0, start, end);
  return {
    bytes: length === size ? whole : whole.subarray(0, length),
    release: () => {
      if (spare.length < mostSpare) spare.push(whole);
    },
  };
}
