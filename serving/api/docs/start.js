// Shows openapi.json. No badge of a public validator, and a key that is typed in is forgotten with the page.

SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
