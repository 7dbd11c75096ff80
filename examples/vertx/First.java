import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.VerticleBase;
import io.vertx.spi.cluster.hazelcast.HazelcastClusterManager;
import java.util.concurrent.TimeUnit;

/** Two verticles: one greets and tells how often, the other asks and listens. */
public class First {

  static class Greeter extends VerticleBase {
    private int greeted;

    @Override
    public Future<?> start() {
      vertx.setPeriodic(1000, id -> vertx.eventBus().publish("greeted", greeted));
      return vertx.eventBus().<String>consumer("greet", m -> {
        greeted++;
        m.reply("hello, " + m.body());
      }).completion();
    }

    @Override
    public Future<?> stop() {
      System.out.println("the greeter has greeted " + greeted);
      return Future.succeededFuture();
    }
  }

  static class Guest extends VerticleBase {
    @Override
    public Future<?> start() {
      return vertx.eventBus().<Integer>consumer("greeted", m -> System.out.println("greeted so far: " + m.body()))
        .completion()
        .compose(v -> vertx.eventBus().<String>request("greet", "ada"))
        .onSuccess(reply -> System.out.println(reply.body()));
    }
  }

  public static void main(String[] args) {
    Vertx vertx = Vertx.builder().withClusterManager(new HazelcastClusterManager()).buildClustered().await();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        vertx.close().await(10, TimeUnit.SECONDS);
      } catch (Exception e) {
        System.err.println("stopped: " + e);
      }
    }));
    vertx.deployVerticle(new Greeter())
      .compose(id -> vertx.deployVerticle(new Guest()))
      .onFailure(e -> {
        System.err.println("not started: " + e);
        System.exit(1);
      });
  }
}
