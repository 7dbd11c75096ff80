import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.eventbus.DeliveryOptions;
import io.vertx.core.eventbus.EventBus;
import io.vertx.core.eventbus.Message;
import io.vertx.core.eventbus.ReplyException;
import io.vertx.core.json.JsonArray;
import io.vertx.core.json.JsonObject;
import io.vertx.ext.bridge.BridgeOptions;
import io.vertx.ext.bridge.PermittedOptions;
import io.vertx.ext.eventbus.bridge.tcp.TcpEventBusBridge;
import io.vertx.ext.web.Router;
import io.vertx.ext.web.handler.sockjs.SockJSBridgeOptions;
import io.vertx.ext.web.handler.sockjs.SockJSHandler;

/** The original's bridges, with the consumers and rules of testdata/behaviours.txt. Ends with its input. */
public class Original {
  static final String[] ADDRESSES = {"echo", "fail", "silent", "ask", "tell", "nobody", "x", "y"};

  public static void main(String[] args) throws Exception {
    Vertx vertx = Vertx.vertx();
    consume(vertx.eventBus());
    BridgeOptions tcp = new BridgeOptions();
    SockJSBridgeOptions web = new SockJSBridgeOptions();
    allow(tcp, new PermittedOptions().setAddressRegex("re\\..+"));
    allow(tcp, matched());
    tcp.addInboundPermitted(new PermittedOptions().setAddress("guarded").setRequiredAuthority("boss"));
    web.addInboundPermitted(new PermittedOptions().setAddressRegex("re\\..+"));
    web.addOutboundPermitted(new PermittedOptions().setAddressRegex("re\\..+"));
    web.addInboundPermitted(matched()).addOutboundPermitted(matched());
    web.addInboundPermitted(new PermittedOptions().setAddress("guarded").setRequiredAuthority("boss"));
    for (String a : ADDRESSES) {
      allow(tcp, new PermittedOptions().setAddress(a));
      web.addInboundPermitted(new PermittedOptions().setAddress(a));
      web.addOutboundPermitted(new PermittedOptions().setAddress(a));
    }
    int tcpPort = Integer.parseInt(args[0]), webPort = Integer.parseInt(args[1]);
    TcpEventBusBridge.create(vertx, tcp).listen(tcpPort, "127.0.0.1").toCompletionStage().toCompletableFuture().get();
    Router router = Router.router(vertx);
    router.route("/eventbus/*").subRouter(SockJSHandler.create(vertx).bridge(web));
    vertx.createHttpServer().requestHandler(router).listen(webPort, "127.0.0.1").toCompletionStage().toCompletableFuture().get();
    System.out.println("ready");
    while (System.in.read() >= 0) {
    }
    System.exit(0);
  }

  static void allow(BridgeOptions o, PermittedOptions p) {
    o.addInboundPermitted(p).addOutboundPermitted(p);
  }

  static PermittedOptions matched() {
    return new PermittedOptions().setAddress("matched")
      .setMatch(new JsonObject().put("kind", "query").put("n", new JsonObject().put("a", 1)));
  }

  static void consume(EventBus eb) {
    eb.consumer("echo", m -> m.reply(m.body(), new DeliveryOptions().setHeaders(m.headers())));
    eb.consumer("fail", m -> m.fail(42, "no"));
    eb.consumer("silent", m -> {});
    eb.consumer("ask", m -> m.replyAndRequest("how many?").onSuccess(a -> a.reply(new JsonObject().put("answered", a.body()))));
    eb.<JsonObject>consumer("tell", m -> tell(eb, m));
  }

  static void tell(EventBus eb, Message<JsonObject> m) {
    JsonObject say = m.body();
    String address = say.getString("address");
    Object body = say.getValue("body");
    DeliveryOptions o = new DeliveryOptions();
    JsonObject headers = say.getJsonObject("headers");
    if (headers != null) {
      headers.forEach(h -> o.addHeader(h.getKey(), h.getValue().toString()));
    }
    switch (say.getString("op")) {
      case "send":
        eb.send(address, body, o);
        return;
      case "publish":
        eb.publish(address, body, o);
        return;
      case "bytes":
        eb.send(address, Buffer.buffer(new byte[] {(byte) 0xfb, (byte) 0xff, 0, (byte) 0xff}), o);
        return;
    }
    eb.request(address, body, o).onComplete(r -> {
      if (r.succeeded()) {
        m.reply(new JsonObject().put("reply", r.result().body()));
        return;
      }
      ReplyException e = (ReplyException) r.cause();
      m.reply(new JsonObject().put("failure", new JsonArray().add(e.failureType().name()).add(e.failureCode()).add(e.getMessage())));
    });
  }
}
