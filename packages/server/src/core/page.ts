// The shape of a page of a list; `cursor` is absent on the last one.
export interface Page<T> {
  items: T[];
  cursor?: string;
}
