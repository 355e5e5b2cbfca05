import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

/*
 * `blob-server.ts FILE PORT`: a server on every address that answers GET with the file, and POST with the SHA-256 of
 * what was sent. Prints a line when it listens.
 */

const [file = '', port] = process.argv.slice(2);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'GET') {
    await pipeline(createReadStream(file), response);
    return;
  }
  const hash = createHash('sha256');
  for await (const chunk of request) hash.update(chunk as Buffer);
  response.end(`${hash.digest('hex')}\n`);
}

const server = createServer((request, response) => {
  // A client that goes away in the middle is nothing to a server.
  answer(request, response).catch(() => response.destroy());
});
server.listen(Number(port), '0.0.0.0', () => process.stdout.write('listening\n'));
