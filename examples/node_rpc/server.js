// An RPC server after RabbitMQ's tutorial. It knows nothing of durable promises.

const amqp = require('amqplib');

const PRICES = { book: 12, lamp: 30 };

function price({ sku, count }) {
  if (!(sku in PRICES)) throw new Error(`there is no ${sku}`);
  return { sku, total: PRICES[sku] * count };
}

async function main() {
  const connection = await amqp.connect(process.env.RESONATE_AMQP_URL || 'amqp://localhost');
  const channel = await connection.createChannel();
  await channel.assertQueue('prices', { durable: true });
  await channel.prefetch(1);
  await channel.consume('prices', (message) => {
    const { replyTo, correlationId } = message.properties;
    let reply = 'null';
    const headers = {};
    try {
      reply = JSON.stringify(price(JSON.parse(message.content.toString())));
    } catch (error) {
      headers['resonate:error'] = error.message;
    }
    channel.sendToQueue(replyTo, Buffer.from(reply), { correlationId, headers, persistent: true });
    channel.ack(message);
  });
  console.log('prices are told');
}

main();
