"""Creates the bucket in the chart's own S3 server, unless it exists.

Arguments: the server's URL and the bucket. The server starts at the same time, and some network
plugins let a new pod reach others only after a while: so it tries for two minutes.
"""

import sys
import time

import boto3
from botocore.exceptions import ConnectionError, HTTPClientError

PATIENCE_S = 120

endpoint, bucket = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)
end = time.monotonic() + PATIENCE_S
while True:
    try:
        there = [found["Name"] for found in s3.list_buckets()["Buckets"]]
        break
    except (ConnectionError, HTTPClientError) as error:
        if time.monotonic() > end:
            raise
        print(f"Not reached yet: {error}", flush=True)
    time.sleep(2)
if bucket not in there:
    s3.create_bucket(Bucket=bucket)
    print(f"Created the bucket {bucket}.")
