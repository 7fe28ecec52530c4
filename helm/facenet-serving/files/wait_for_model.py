"""Waits until the model is in the bucket: an init container of Triton's pods, before KServe's own.

Arguments: the bucket, the key of the object that is published last, and the S3 server's URL (empty:
AWS). Without it KServe's container fails until the model is there, which is tried again ever more
rarely; and it may take a model of which a part is there.
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

bucket, key, endpoint = sys.argv[1:]
once = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=endpoint or None, config=once)
said = ""
while True:
    try:
        s3.head_object(Bucket=bucket, Key=key)
        break
    except (BotoCoreError, ClientError) as error:
        if str(error) != said:
            said = str(error)
            print(f"s3://{bucket}/{key} is not there yet: {said}", flush=True)
    time.sleep(2)
print(f"s3://{bucket}/{key} is there.")
