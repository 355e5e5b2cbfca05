import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { UserspaceWireguard } from './userspace.ts';

/** In a process of its own, since who asks does nothing else meanwhile: answers the first question when it is too late. */
const SLOW_AT_FIRST = `
  let questions = 0;
  const answer = (socket, port) => socket.write('listen_port=' + port + '\\nerrno=0\\n\\n');
  require('node:net').createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => (questions++ === 0 ? setTimeout(() => answer(socket, 1), 2500) : answer(socket, 2)));
  }).listen(process.argv[1], () => console.log('listening'));`;

it('is not taken for dead where it is slow, nor a late answer for the next one', { timeout: 30_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-uapi-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const server = spawn(process.execPath, ['-e', SLOW_AT_FIRST, join(folder, 'wg0.sock')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void server.kill('SIGKILL'));
  await once(server.stdout, 'data');
  using device = new UserspaceWireguard(folder, 'wg0');
  expect(() => device.read()).toThrow(expect.objectContaining({ code: 'wireguard_slow' }));
  expect(device.isAlive).toBe(true);
  expect(device.read().listenPort).toBe(2);
  await new Promise((next) => void setTimeout(next, 1000));
  expect(device.isAlive).toBe(true);
  expect(device.read().listenPort).toBe(2);
  const gone = once(server, 'exit');
  server.kill('SIGKILL');
  await gone;
  expect(device.isAlive).toBe(false);
  expect(() => device.read()).toThrow(expect.objectContaining({ code: 'wireguard_away' }));
});
