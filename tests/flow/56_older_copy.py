"""An older copy of the store of persons is put back: what the warehouse has seen of the lost commits is told, and building it anew makes it right."""
# embedded: log people warehouse: it puts back an older folder of persons
import json
import os
import shutil

from harness import Serve, wait_for


def test_what_the_warehouse_has_seen_is_told_and_made_right():
    with Serve() as serve:
        token, people = serve.token(), os.path.join(serve.data, "people")

        def send(name, count):
            for n in range(count):
                serve.post("/batch/", {"api_key": token, "batch": [{"event": name, "distinct_id": "d", "properties": {"$set": {name: n}}}]})
                serve.settle()  # a batch each, so that versions and rows are more than when all of them come at once

        send("a", 2)
        serve.stop()
        shutil.copytree(people, people + ".older")
        serve.start()
        send("b", 4)
        serve.stop()
        assert "has lost commits" not in serve.log(), serve.log()
        shutil.rmtree(people)
        os.rename(people + ".older", people)
        serve.start()
        serve.post("/batch/", {"api_key": token, "batch": [{"event": "c", "distinct_id": "d", "properties": {"$set": {"c": 7}}}]})
        wait_for(lambda: serve.status()["pending"] == 0, 120)
        wait_for(lambda: "rows of people of which it does not know" in serve.log(), 60)
        serve.cli("warehouse", "rebuild", "--yes", "--wait")
        properties = json.loads(serve.sql("SELECT properties FROM persons")[0]["properties"])
        assert {name: properties.get(name) for name in "abc"} == {"a": 1, "b": 3, "c": 7}, properties
        assert serve.sql("SELECT event, count(*) AS n FROM events GROUP BY event ORDER BY event") == [
            {"event": "a", "n": 2}, {"event": "b", "n": 4}, {"event": "c", "n": 1}]
        serve.settle()
