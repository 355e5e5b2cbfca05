import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

/*
 * `chatter.ts ADDRESS [PEER PORT]` sends a datagram each millisecond to its peer, which is the last that it heard where
 * none is given. It prints the port that it has, and for each line that it reads how many datagrams it has heard.
 */

const INTERVAL_MS = 1;

const [address = '', peerAddress, peerPort] = process.argv.slice(2);
let peer = peerAddress === undefined ? undefined : { address: peerAddress, port: Number(peerPort) };
let heard = 0;

const socket = createSocket('udp4');
socket.on('message', (_, from) => {
  heard++;
  peer = from;
});
// what is refused on the way is what it is there to find out
socket.on('error', () => undefined);
socket.bind(0, address, () => process.stdout.write(`${socket.address().port}\n`));
setInterval(() => {
  if (peer !== undefined) socket.send('x', peer.port, peer.address, () => undefined);
}, INTERVAL_MS);
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${heard}\n`);
