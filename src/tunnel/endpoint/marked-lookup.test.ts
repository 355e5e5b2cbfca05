import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Answer, decode, encode } from 'dns-packet';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { formatIp, parseIp } from '../../addr/ip.ts';
import { NamespaceHandle } from '../../linux/namespace.ts';
import { inHosts, markedLookup } from './marked-lookup.ts';

let namespace: LabNamespace;
let home: NamespaceHandle;
beforeEach(async () => {
  namespace = await LabNamespace.make();
  home = new NamespaceHandle();
  using inside = new NamespaceHandle(namespace.path);
  inside.enter();
});
afterEach(async () => {
  home.enter();
  home[Symbol.dispose]();
  await namespace.close();
});

const NAMES: Readonly<Record<string, Answer[]>> = {
  'A four.example': [{ type: 'A', name: 'four.example', data: '192.0.2.1' }],
  'AAAA six.example': [
    { type: 'CNAME', name: 'six.example', data: 'other.example' },
    { type: 'AAAA', name: 'other.example', data: '2001:db8::1' },
  ],
};

async function server(rcode: number): Promise<Disposable> {
  const socket = createSocket('udp4');
  socket.on('message', (message, { address, port }) => {
    const { id, questions } = decode(message);
    const [question] = questions ?? [];
    if (question?.name === 'silent.example') return;
    const answers = NAMES[`${question?.type} ${question?.name}`] ?? [];
    const packet = { type: 'response', id, flags: rcode, questions, answers } as const;
    // one to another question does not count
    socket.send(encode({ ...packet, id: (id ?? 0) ^ 1, answers: [] }), port, address);
    socket.send(encode(packet), port, address);
  });
  socket.bind(53, '127.0.0.1');
  await once(socket, 'listening');
  return { [Symbol.dispose]: () => void socket.close() };
}

const NXDOMAIN = 3;
const lookUp = async (host: string): Promise<string> =>
  formatIp(await markedLookup(host, { fwMark: 51_820, servers: [parseIp('127.0.0.2'), parseIp('127.0.0.1')] }));

it('asks one server after the other, for both families', async () => {
  using opened = new DisposableStack();
  opened.use(await server(0));
  expect(await lookUp('four.example')).toBe('192.0.2.1');
  expect(await lookUp('six.example')).toBe('2001:db8::1');
  await expect(lookUp('none.example')).rejects.toThrow('none.example does not resolve: there is no such name');
  await expect(lookUp('silent.example')).rejects.toThrow('no answer in 2 s');
}, 20_000);

it('says why there is no address', async () => {
  await expect(lookUp('four.example')).rejects.toThrow('four.example does not resolve: ECONNREFUSED');
  using opened = new DisposableStack();
  opened.use(await server(NXDOMAIN));
  await expect(lookUp('four.example')).rejects.toThrow('there is no such name');
  await expect(markedLookup('a.example', { fwMark: 1, servers: [] })).rejects.toThrow('no name server');
  expect(await lookUp('localhost')).toMatch(/^(127\.0\.0\.1|::1)$/);
});

it('knows what hosts(5) says', () => {
  const text = '127.0.0.1 localhost\n# 10.0.0.1 vpn\nfe80::1%eth0 vpn\n10.0.0.2\tgate Vpn # ours\nnonsense vpn\n';
  expect(inHosts('vpn', text)).toBe(parseIp('10.0.0.2'));
  expect(inHosts('ours', text)).toBeUndefined();
});
