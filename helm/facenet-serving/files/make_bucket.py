"""Creates the bucket in the chart's own S3 server, unless it exists.

Arguments: the server's URL and the bucket.
"""

import sys

import boto3

endpoint, bucket = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)
if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=bucket)
    print(f"Created the bucket {bucket}.")
