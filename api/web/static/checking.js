// While a dataset is checked its page lives; once that has ended there are pictures, for which the page is made anew.
document.addEventListener("refreshed", () => {
  if (!document.querySelector("#state [data-state=validating]")) location.reload();
});
