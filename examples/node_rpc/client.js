// An RPC client after RabbitMQ's tutorial. What answers it may be a durable workflow.
// Usage: node client.js SKU COUNT [ID]    The same ID asks for the same order again.

const amqp = require('amqplib');
const { randomUUID } = require('crypto');

async function main([sku, count, id]) {
  const connection = await amqp.connect(process.env.RESONATE_AMQP_URL || 'amqp://localhost');
  const channel = await connection.createChannel();
  await channel.assertQueue('orders', { durable: true });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const correlationId = id || randomUUID();
  const answered = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      if (message.properties.correlationId === correlationId) resolve(message);
    }, { noAck: true });
  });
  const request = JSON.stringify({ sku, count: Number(count) });
  channel.sendToQueue('orders', Buffer.from(request), {
    correlationId, replyTo: queue, contentType: 'application/json', persistent: true,
  });
  const message = await answered;
  const error = message.properties.headers['resonate:error'];
  console.log(error ? `refused: ${error}` : message.content.toString());
  await connection.close();
}

main(process.argv.slice(2));
