"""The requests to a host are spread over time, for all processes and organisations together."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.crawls.host_turns import end_turn, forget_hosts, hold_back, take_turn

LIMITS = {"interval_s": 0.05, "at_once": 2, "lease_s": 30.0}


def test_crawlers_of_many_processes_keep_the_interval_and_the_number_at_once(pool: ConnectionPool) -> None:
    host, began, under_way, most = uuid4().hex, [], [], []

    def crawl() -> None:
        done = 0
        while done < 4:
            with pool.connection() as connection:
                turn = take_turn(connection, host, **LIMITS)
            if turn.id is None:
                time.sleep(min(turn.wait_s, 0.02))
                continue
            began.append(time.monotonic())
            under_way.append(host)
            most.append(len(under_way))
            time.sleep(0.12)
            under_way.pop()
            with pool.connection() as connection:
                end_turn(connection, host, turn.id)
            done += 1

    with ThreadPoolExecutor(5) as threads:
        for one in [threads.submit(crawl) for _ in range(5)]:
            one.result()
    began.sort()
    assert len(began) == 20
    # By the clock of the server, five requests take 0.2 s. A busy client reads its own clock later.
    assert min(fifth - first for first, fifth in zip(began, began[4:], strict=False)) > 0.12
    assert max(most) <= LIMITS["at_once"]


def test_a_host_that_asks_for_fewer_requests_gets_none_for_a_while(connection: Connection) -> None:
    host = uuid4().hex
    turn = take_turn(connection, host, **LIMITS)
    assert turn.id is not None
    end_turn(connection, host, turn.id, hold_back_s=60.0)
    assert take_turn(connection, host, **LIMITS).id is None
    assert 55 < take_turn(connection, host, **LIMITS).wait_s <= 60
    hold_back(connection, host, 1.0)  # a shorter wait does not end a longer one
    assert take_turn(connection, host, **LIMITS).wait_s > 55
    assert take_turn(connection, uuid4().hex, **LIMITS).id is not None


def test_a_request_whose_process_died_stops_counting(connection: Connection) -> None:
    host, limits = uuid4().hex, {"interval_s": 0.0, "at_once": 1, "lease_s": 0.1}
    assert take_turn(connection, host, **limits).id is not None
    assert take_turn(connection, host, **limits).id is None
    time.sleep(0.15)
    assert take_turn(connection, host, **limits).id is not None
    connection.execute("UPDATE crawl_hosts SET next_at = now() - interval '2 days' WHERE host = %s", [host])
    time.sleep(0.15)
    assert forget_hosts(connection) >= 1
