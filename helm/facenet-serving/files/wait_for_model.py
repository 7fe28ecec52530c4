"""Waits until the model is in the bucket: an init container of Triton's pods, before KServe's own.

Arguments: the bucket, the key of the object that is published last, and the S3 server's URL (empty:
AWS). Without this container, KServe's fails until the model is there and restarts with growing
pauses; it may also take an incomplete model.
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

bucket, key, endpoint = sys.argv[1:]
once = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=endpoint or None, config=once)
logged = ""
while True:
    try:
        s3.head_object(Bucket=bucket, Key=key)
        break
    except (BotoCoreError, ClientError) as error:
        if str(error) != logged:
            logged = str(error)
            print(f"s3://{bucket}/{key} is not there yet: {logged}", flush=True)
    time.sleep(2)
print(f"s3://{bucket}/{key} is there.")
