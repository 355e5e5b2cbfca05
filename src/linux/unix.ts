/** linux/socket.h */
export const AF_UNIX = 1;

/** struct sockaddr_un of linux/un.h. @param name a path that ends in a zero, or an abstract name that begins with one */
export function unixAddress(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  const address = new Uint8Array(2 + bytes.length);
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}
